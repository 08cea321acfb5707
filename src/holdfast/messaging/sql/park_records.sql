-- Inserts parked records or adds the attempts of repeats, and returns attempts and times of all. What a repeat
-- brings is written too: at the place of a record of a topic that was made anew there may be another one.
insert into parked (
    topic, partition, position, reason, detail, message_id, saga_id, key, value, headers, attempts, source
)
select topic, partition, position, reason, detail, message_id, saga_id::uuid, key, value, headers, attempts, source
from unnest(
    %(topics)b::text[], %(partitions)b::integer[], %(positions)b::bigint[], %(reasons)b::text[],
    %(details)b::text[], %(message_ids)b::text[], %(saga_ids)b::text[], %(keys)b::bytea[],
    %(values)b::bytea[], %(headers)b::bytea[], %(attempts)b::integer[], %(sources)b::text[]
) as u (
    topic, partition, position, reason, detail, message_id, saga_id, key, value, headers, attempts, source
)
on conflict (topic, partition, position) do update
set
    reason = excluded.reason,
    detail = excluded.detail,
    message_id = excluded.message_id,
    saga_id = excluded.saga_id,
    key = excluded.key,
    value = excluded.value,
    headers = excluded.headers,
    source = excluded.source,
    attempts = parked.attempts + excluded.attempts,
    last_at = now(),
    status = 'parked',
    outcome = case when parked.status = 'redriven' and parked.outcome is null then 'parked_again' end
returning
    topic, partition, position, attempts,
    (extract(epoch from first_at) * 1000)::bigint,
    (extract(epoch from last_at) * 1000)::bigint
