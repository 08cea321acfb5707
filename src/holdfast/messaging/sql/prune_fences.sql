-- Look at one page of keys and delete what may go of it. A row that somebody has locked stays for a later pass:
-- this statement waits for nobody, and so deadlocks with nobody. Nor is a step at rest that a timer waits for: its
-- row may be closed, and a refund still be owed.
with looked as (
    select saga_id
    from fence
    where step = %(step)s and saga_id >= %(from_id)s::uuid and saga_id < %(before_id)s::uuid
    order by saga_id
    limit %(limit)s
),
free as (
    select saga_id
    from fence
    where
        step = %(step)s
        and saga_id = any(array(select saga_id from looked))
        and state = any(%(states)b::text[])
        and changed_at <= to_timestamp(%(unchanged_since_ms)s::bigint / 1000.0)
        and not exists (
            select 1
            from timers t
            where
                t.saga_id = fence.saga_id
                and t.step = fence.step
                and t.saga_id = any(array(select saga_id from looked))
        )
    for update skip locked
),
gone as (
    delete from fence
    where step = %(step)s and saga_id = any(array(select saga_id from free))
    returning 1
)
select
    (select count(*) from gone),
    (select count(*) from looked),
    (select saga_id::text from looked order by saga_id desc limit 1)
