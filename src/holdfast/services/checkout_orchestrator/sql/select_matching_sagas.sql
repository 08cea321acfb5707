-- Returns which of these sagas match the states, the reason and the stalled mark.
select saga_id::text
from saga
where
    saga_id = any(%(saga_ids)b::text[]::uuid[])
    and (cardinality(%(states)b::text[]) = 0 or state = any(%(states)b::text[]))
    and (%(reason)s = '' or reason = %(reason)s)
    and (not %(stalled)s or stalled_ms > 0)
