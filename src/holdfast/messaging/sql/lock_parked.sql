-- Locks and returns the parked records at these positions, with their bytes.
select
    topic, partition, position, key, value, headers, source, reason, detail, message_id, saga_id::text, attempts,
    status, outcome,
    (extract(epoch from first_at) * 1000)::bigint,
    (extract(epoch from last_at) * 1000)::bigint
from parked
where
    (topic, partition, position) in (
        select topic, partition, position
        from unnest(
            %(topics)b::text[], %(partitions)b::integer[], %(positions)b::bigint[]
        ) as u (topic, partition, position)
    )
    and topic = any(%(topics)b::text[])
    and partition = any(%(partitions)b::integer[])
    and position = any(%(positions)b::bigint[])
order by topic, partition, position
for update
