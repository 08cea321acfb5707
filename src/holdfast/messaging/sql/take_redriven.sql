-- Locks and returns redriven records without a known outcome, with their bytes, and skips locked ones.
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
    and status = 'redriven'
    and outcome is null
order by topic, partition, position
for update skip locked
