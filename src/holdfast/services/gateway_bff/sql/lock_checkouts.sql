select saga_id::text, saga_version
from checkout
where saga_id = any(%(saga_ids)b::text[]::uuid[])
order by saga_id
for update
