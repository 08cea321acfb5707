select saga_id::text
from fence
where
    step = %(step)s
    and state = 'DONE'
    and saga_id >= %(from_id)s::uuid
    and saga_id < %(before_id)s::uuid
order by saga_id
limit %(limit)s
