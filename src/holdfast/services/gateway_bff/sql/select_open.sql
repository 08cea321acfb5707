-- Returns open checkouts in a range of keys, smallest first: by `checkout.saga_id`, as an index is, not by its text.
select saga_id::text, created_ms, initiated
from checkout
where
    saga_id >= %(from_id)s::uuid
    and saga_id < %(before_id)s::uuid
    and last_status not in ('COMPLETED', 'FAILED')
order by checkout.saga_id
limit %(limit)s
