-- Deletes one page of ended sagas with their histories. A saga's row is locked first, as the writer does;
-- a row that another transaction has locked stays for a later pass.
with looked as (
    select saga_id
    from saga
    where saga_id >= %(from_id)s::uuid and saga_id < %(before_id)s::uuid
    order by saga_id
    limit %(limit)s
),
free as (
    select saga_id
    from saga
    where
        saga_id = any(array(select saga_id from looked))
        and state = any(%(states)b::text[])
        and ended_ms <= %(unchanged_since_ms)s
    for update skip locked
),
history as (
    delete from saga_event where saga_id = any(array(select saga_id from free))
),
ignored as (
    delete from saga_ignored where saga_id = any(array(select saga_id from free))
),
gone as (
    delete from saga where saga_id = any(array(select saga_id from free)) returning 1
)
select
    (select count(*) from gone),
    (select count(*) from looked),
    (select saga_id::text from looked order by saga_id desc limit 1)
