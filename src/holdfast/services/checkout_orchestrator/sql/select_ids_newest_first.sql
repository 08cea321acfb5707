-- Returns the newest saga ids in a range. Ordered by `saga.saga_id`: ordering by its text would sort all rows.
select saga_id::text
from saga
where saga_id >= %(from_id)s::uuid and saga_id < %(before_id)s::uuid
order by saga.saga_id desc
limit %(limit)s
