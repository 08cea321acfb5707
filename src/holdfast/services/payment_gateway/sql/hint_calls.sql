-- Makes waiting calls of these sagas due now, except calls that may be under way.
update timers
set due_ms = (extract(epoch from now()) * 1000)::bigint
where
    saga_id = any(%(saga_ids)b::text[]::uuid[])
    and step = 'payment'
    and kind = 'resolve'
    and due_ms > (extract(epoch from now()) * 1000)::bigint
    and end_offset <= (extract(epoch from now()) * 1000)::bigint
