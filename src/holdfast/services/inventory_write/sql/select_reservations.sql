-- Returns the pieces that these sagas reserved.
select saga_id::text, skus, quantities
from stock_movement
where direction = 'reserve' and saga_id = any(%(saga_ids)b::text[]::uuid[])
