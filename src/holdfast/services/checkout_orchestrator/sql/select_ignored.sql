-- Returns the ignored events of a saga, in the order of their ids.
select
    event_id, kind, reason, times, (extract(epoch from first_at) * 1000)::bigint,
    (extract(epoch from last_at) * 1000)::bigint
from saga_ignored
where saga_id = %(saga_id)s::uuid
order by event_id collate "C"
