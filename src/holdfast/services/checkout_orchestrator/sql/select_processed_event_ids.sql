select e.saga_id::text, e.event_id
from unnest(%(saga_ids)b::text[], %(event_ids)b::text[]) as u (saga_id, event_id)
join saga_event e on e.saga_id = u.saga_id::uuid and e.event_id = u.event_id
where e.saga_id = any(%(saga_ids)b::text[]::uuid[])
