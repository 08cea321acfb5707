-- Gives the timers of these sagas to the owners of these partitions.
update timers
set partition = moved.partition
from unnest(%(saga_ids)s::uuid[], %(partitions)s::integer[]) as moved (saga_id, partition)
where timers.saga_id = moved.saga_id
