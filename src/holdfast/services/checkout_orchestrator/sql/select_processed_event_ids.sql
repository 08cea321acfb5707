-- Returns which (saga id, event id) pairs are in the history. `limit 1` makes it one index look-up for each pair:
-- a saga that waited for days has thousands of events, and a join would read them all.
select u.saga_id, u.event_id
from unnest(%(saga_ids)b::text[], %(event_ids)b::text[]) as u (saga_id, event_id)
cross join lateral (
    select 1
    from saga_event e
    where e.saga_id = u.saga_id::uuid and e.event_id = u.event_id
    limit 1
) as found
