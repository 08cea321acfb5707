-- Deletes the rows of one page of keys that may go, returns how many it deleted and looked at, and the last key.
-- A locked row stays for a later pass: this statement never waits for a lock, so it cannot deadlock. A row with
-- a timer stays too: its state may be final while a refund is still owed.
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
