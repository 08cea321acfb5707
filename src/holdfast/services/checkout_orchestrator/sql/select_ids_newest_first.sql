-- By the key itself: its text, which has the same name here, would have all of them sorted for a page.
select saga_id::text
from saga
where saga_id >= %(from_id)s::uuid and saga_id < %(before_id)s::uuid
order by saga.saga_id desc
limit %(limit)s
