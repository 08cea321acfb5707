-- Inserts timers, or replaces those with the same key.
insert into timers (saga_id, step, verb, kind, partition, since_ms, due_ms, fired, outbox_id, end_offset)
select saga_id::uuid, step, verb, kind, partition, since_ms, due_ms, fired, outbox_id, end_offset
from unnest(
    %(saga_ids)b::text[], %(steps)b::text[], %(verbs)b::text[], %(kinds)b::text[], %(partitions)b::integer[],
    %(since_ms)b::bigint[], %(due_ms)b::bigint[], %(fired)b::integer[], %(outbox_ids)b::bigint[],
    %(end_offsets)b::bigint[]
) as u (saga_id, step, verb, kind, partition, since_ms, due_ms, fired, outbox_id, end_offset)
on conflict (saga_id, step, verb) do update
set
    kind = excluded.kind,
    partition = excluded.partition,
    since_ms = excluded.since_ms,
    due_ms = excluded.due_ms,
    fired = excluded.fired,
    outbox_id = excluded.outbox_id,
    end_offset = excluded.end_offset
