-- Appends the next status of an object.
insert into entries (ref, turn, kind, status, amount, currency, intent, saga_id, idem_key, at_ms, object)
select ref, turn + 1, kind, :status, amount, currency, intent, saga_id, idem_key, :at_ms, :object
from entries where ref = :ref order by turn desc limit 1
