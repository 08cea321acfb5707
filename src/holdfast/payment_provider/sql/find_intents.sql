-- Returns the payment intents of a saga as they are now, newest first.
select (select object from entries where ref = e.ref order by turn desc limit 1)
from entries e indexed by entries_by_saga where saga_id = :saga_id and kind = 'intent' and turn = 1 order by seq desc
