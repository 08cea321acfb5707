-- Records ignored events, or adds to how often each came.
insert into saga_ignored (saga_id, event_id, kind, reason, times)
select saga_id::uuid, event_id, kind, reason, times
from unnest(
    %(saga_ids)b::text[], %(event_ids)b::text[], %(kinds)b::text[], %(reasons)b::text[], %(times)b::bigint[]
) as u (saga_id, event_id, kind, reason, times)
order by saga_id, event_id
on conflict (saga_id, event_id) do update
set times = saga_ignored.times + excluded.times, reason = excluded.reason, last_at = now()
