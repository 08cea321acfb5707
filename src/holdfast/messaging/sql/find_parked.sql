-- Returns a page of parked records without their bytes, after a position. An empty filter matches all.
select
    topic, partition, position, status, outcome, reason, detail, message_id, saga_id::text, attempts,
    (extract(epoch from first_at) * 1000)::bigint,
    (extract(epoch from last_at) * 1000)::bigint,
    coalesce(octet_length(value), 0),
    source
from parked
where
    (topic, partition, position) > (%(after_topic)s::text, %(after_partition)s::integer, %(after_position)s::bigint)
    and (%(status)s::text = '' or status = %(status)s::text)
    and (%(topic)s::text = '' or topic = %(topic)s::text)
    and (%(reason)s::text = '' or reason = %(reason)s::text)
    and (%(saga_id)s::text = '' or saga_id::text = %(saga_id)s::text)
    and (%(outcome)s::text = '' or coalesce(outcome, 'unknown') = %(outcome)s::text)
order by topic, partition, position
limit %(limit)s
