-- Returns those of these sagas that have cleared their cart, with the version that each left.
select saga_id::text, version_left
from clear_log
where saga_id = any(%(saga_ids)b::text[]::uuid[])
