-- Locks and returns due timers, skips locked ones. One due beyond the horizon counts: the clock has jumped back.
select saga_id::text, step, verb, kind, partition, since_ms, due_ms, fired, outbox_id, end_offset
from timers
where
    kind = %(kind)s
    and partition = any(%(partitions)b::integer[])
    and (
        due_ms <= (extract(epoch from now()) * 1000)::bigint
        or due_ms > (extract(epoch from now()) * 1000)::bigint + %(horizon_ms)s
    )
order by due_ms
limit %(limit)s
for update skip locked
