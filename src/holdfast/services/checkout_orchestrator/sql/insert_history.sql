-- Appends events to the histories of sagas.
insert into saga_event (saga_id, seq, event_id, kind, payload, path, at_ms)
select saga_id::uuid, seq, event_id, kind, payload, path, at_ms
from unnest(
    %(saga_ids)b::text[], %(seqs)b::bigint[], %(event_ids)b::text[], %(kinds)b::text[], %(payloads)b::bytea[],
    %(paths)b::text[], %(at_ms)b::bigint[]
) as u (saga_id, seq, event_id, kind, payload, path, at_ms)
