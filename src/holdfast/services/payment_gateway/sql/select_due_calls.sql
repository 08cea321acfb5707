select saga_id::text, step, verb, kind, partition, since_ms, due_ms, fired, outbox_id, end_offset
from timers
where kind = 'resolve' and due_ms <= (extract(epoch from now()) * 1000)::bigint
order by due_ms
limit %(limit)s
