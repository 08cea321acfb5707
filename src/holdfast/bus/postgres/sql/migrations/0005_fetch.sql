-- Read on from each position, or from what pruning left behind it. Offsets have no holes, so a range of them
-- bounds the number of messages; and the bytes before a row bound the bytes (octet_length reads no value).
-- At least one row where there is any.
create function fetch_log(
    p_group text,
    p_topics text[],
    p_partitions int4[],
    p_positions int8[],
    p_messages_more int8,
    p_bytes_max int8
)
returns table (
    number int8,
    log_end int8,
    base_offset int8,
    end_offset int8,
    published_ms int8,
    lines bytea,
    source text
)
language plpgsql
security definer
set search_path from current
as $$
#variable_conflict use_column
begin
    perform check_reader(p_group, p_topics);
    return query
    select
        o.number,
        p.next_offset,
        batch.base_offset,
        batch.end_offset,
        (extract(epoch from batch.published_at) * 1000)::int8,
        batch.lines,
        batch.source
    from unnest(p_topics, p_partitions, p_positions)
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
            and log.end_offset between first.end_offset and first.end_offset + p_messages_more
    ) as batch
    where batch.bytes_before < p_bytes_max
    order by o.number, batch.end_offset;
end
$$;
