-- Locks checkouts in the order of their ids; returns status, version and total.
select saga_id::text, saga_version, last_status, total_minor, currency
from checkout
where saga_id = any(%(saga_ids)b::text[]::uuid[])
order by saga_id
for update
