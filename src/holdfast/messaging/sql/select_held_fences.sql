-- Returns the DONE rows of one page of keys, the page's last key, and how many keys it has. The page bounds the keys
-- looked at: if few rows are DONE, a bound on the rows found alone would read the whole table.
with looked as materialized (
    select saga_id, state
    from fence
    where step = %(step)s and saga_id >= %(from_id)s::uuid and saga_id < %(before_id)s::uuid
    order by saga_id
    limit %(keys)s
)
select
    array(select saga_id::text from looked where state = 'DONE' order by saga_id limit %(limit)s),
    (select saga_id::text from looked order by saga_id desc limit 1),
    (select count(*) from looked)
