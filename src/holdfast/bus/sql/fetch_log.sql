-- Read on from each position, or from what pruning left behind it. Offsets have no holes, so a range of them
-- bounds the number of messages; and the bytes before a row bound the bytes (octet_length reads no value).
-- At least one row where there is any.
select
    o.number,
    batch.base_offset,
    batch.end_offset,
    (extract(epoch from batch.published_at) * 1000)::int8,
    batch.lines
from unnest(%(topics)b::text[], %(partitions)b::int4[], %(positions)b::int8[])
    with ordinality as o (topic, partition, position, number)
join partitions as p on p.topic = o.topic and p.partition = o.partition and p.next_offset > o.position
cross join lateral (
    select end_offset
    from log
    where log.topic = o.topic and log.partition = o.partition and log.end_offset > o.position
    order by log.end_offset
    limit 1
) as first
cross join lateral (
    select
        log.*,
        sum(octet_length(lines)) over (order by end_offset rows unbounded preceding)
        - octet_length(lines) as bytes_before
    from log
    where log.topic = o.topic
        and log.partition = o.partition
        and log.end_offset between first.end_offset and first.end_offset + %(messages_more)b::int8
) as batch
where batch.bytes_before < %(bytes_max)b::int8
order by o.number, batch.end_offset
