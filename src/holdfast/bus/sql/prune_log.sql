-- Delete what every group has consumed and what is older than the retention, oldest first, a bounded number of
-- rows a partition. Topics that are kept for people have a retention of their own and wait for no group. Nothing
-- else where no group ever joined, and nothing where another one is pruning or has just done so.
with turn as (
    select only_row
    from upkeep
    where pruned_at <= now() - %(rest_s)b::float8 * interval '1 second'
    for update skip locked
),
taken as (
    update upkeep
    set pruned_at = now()
    from turn
    where upkeep.only_row = turn.only_row
    returning upkeep.only_row
),
slowest as (
    select topic, partition, min(committed) as consumed, %(retention_s)b::float8 as retention_s
    from leases, taken
    where topic <> all(%(kept_topics)b::text[])
    group by topic, partition
    union all
    select topic, partition, next_offset, %(kept_retention_s)b::float8
    from partitions, taken
    where topic = any(%(kept_topics)b::text[])
),
old as (
    select s.topic, s.partition, bound.end_offset
    from slowest as s
    cross join lateral (
        select max(end_offset) filter (
            where published_at <= now() - s.retention_s * interval '1 second'
        ) as end_offset
        from (
            select end_offset, published_at
            from log
            where log.topic = s.topic and log.partition = s.partition and log.end_offset <= s.consumed
            order by log.end_offset
            limit %(rows_max)b::int8
        ) as oldest
    ) as bound
    where bound.end_offset is not null
),
forgotten as (
    delete from members
    using taken
    where members.expires_at < now() - interval '1 day'
)
delete from log
using old
where log.topic = old.topic and log.partition = old.partition and log.end_offset <= old.end_offset
