select saga_id::text, step, verb, kind, partition, since_ms, due_ms, fired, outbox_id, end_offset
from timers
where
    kind = 'resolve'
    and (
        due_ms <= (extract(epoch from now()) * 1000)::bigint
        or due_ms > (extract(epoch from now()) * 1000)::bigint + %(horizon_ms)s
    )
order by due_ms, saga_id, verb
limit %(limit)s
