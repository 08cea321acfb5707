-- Returns the oldest ids of open sagas in a range of keys; a saga with a deadline is open.
select saga_id::text
from (
    select distinct saga_id
    from timers
    where kind = 'deadline' and saga_id >= %(from_id)s::uuid and saga_id < %(before_id)s::uuid
) u
order by u.saga_id
limit %(limit)s
