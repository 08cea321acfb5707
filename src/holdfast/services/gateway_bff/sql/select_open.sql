-- By the key itself, not by its text, which has the same name here: an index has that order already.
select saga_id::text, created_ms, initiated
from checkout
where
    saga_id >= %(from_id)s::uuid
    and saga_id < %(before_id)s::uuid
    and last_status not in ('COMPLETED', 'FAILED')
order by checkout.saga_id
limit %(limit)s
