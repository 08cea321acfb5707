-- Delete what every group has consumed and what is older than the retention, oldest first, a bounded number of
-- rows a partition; return the most rows that went from one. Topics that are kept for people have a retention of
-- their own and wait for no group; only the owner may name one among them that a service reads. Nothing else where no group ever joined, and nothing where another one is
-- pruning or has just done so. Each step is read once (`materialized`): with no statistics of the small tables the
-- planner would ask for the bound of a partition once for every row of the log.
create function prune_log(
    p_rest_s float8,
    p_retention_s float8,
    p_kept_topics text[],
    p_kept_retention_s float8,
    p_rows_max int8
)
returns int8
language plpgsql
security definer
set search_path from current
as $$
#variable_conflict use_column
declare
    deleted int8;
begin
    with turn as (
        select only_row
        from upkeep
        where pruned_at <= now() - p_rest_s * interval '1 second'
        for update skip locked
    ),
    taken as (
        update upkeep
        set pruned_at = now()
        from turn
        where upkeep.only_row = turn.only_row
        returning upkeep.only_row
    ),
    slowest as materialized (
        select topic, partition, min(committed) as consumed, p_retention_s as retention_s
        from leases, taken
        where topic <> all(p_kept_topics)
        group by topic, partition
        union all
        select topic, partition, next_offset, p_kept_retention_s
        from partitions, taken
        where topic = any(p_kept_topics)
            and (
                session_user = current_user
                or not exists (select from readers where readers.topic = partitions.topic)
            )
    ),
    old as materialized (
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
                limit p_rows_max
            ) as oldest
        ) as bound
        where bound.end_offset is not null
    ),
    forgotten as (
        delete from members
        using taken
        where members.expires_at < now() - interval '1 day'
    ),
    gone as (
        delete from log
        where ctid = any(
            array(
                select below.ctid
                from old
                cross join lateral (
                    select log.ctid
                    from log
                    where log.topic = old.topic and log.partition = old.partition and log.end_offset <= old.end_offset
                    offset 0
                ) as below
            )
        )
        returning topic, partition
    )
    select coalesce(max(rows), 0) into deleted
    from (select count(*) as rows from gone group by topic, partition) as lanes;
    return deleted;
end
$$;
