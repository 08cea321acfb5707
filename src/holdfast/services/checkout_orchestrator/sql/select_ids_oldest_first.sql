select saga_id::text
from saga
where saga_id >= %(from_id)s::uuid and saga_id < %(before_id)s::uuid
order by saga_id
limit %(limit)s
