-- Returns sagas with their data, which is the payload of the first event.
select
    s.saga_id::text, s.definition, s.definition_version, s.state, s.version, s.failed, s.owed, s.results,
    s.reason, s.detail, s.started_ms, s.ended_ms, s.stalled_ms, e.payload
from saga s
join saga_event e on e.saga_id = s.saga_id and e.seq = 1
where s.saga_id = any(%(saga_ids)b::text[]::uuid[]) and e.saga_id = any(%(saga_ids)b::text[]::uuid[])
