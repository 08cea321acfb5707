-- Deletes one page of ended checkouts with their idempotency keys; a locked row stays for a later pass.
with looked as (
    select saga_id
    from checkout
    where saga_id >= %(from_id)s::uuid and saga_id < %(before_id)s::uuid
    order by saga_id
    limit %(limit)s
),
free as (
    select saga_id
    from checkout
    where
        saga_id = any(array(select saga_id from looked))
        and last_status in ('COMPLETED', 'FAILED')
        and changed_at <= to_timestamp(%(unchanged_since_ms)s::bigint / 1000.0)
    for update skip locked
),
gone as (
    delete from checkout where saga_id = any(array(select saga_id from free)) returning 1
)
select
    (select count(*) from gone),
    (select count(*) from looked),
    (select saga_id::text from looked order by saga_id desc limit 1)
