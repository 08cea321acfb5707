-- Returns a page of an intent's objects of a kind as they are now, newest first.
select (select object from entries where ref = e.ref order by turn desc limit 1)
from entries e where intent = :intent and kind = :kind and turn = 1
and seq < coalesce((select seq from entries where ref = :after and turn = 1), 9223372036854775807)
order by seq desc limit :limit
