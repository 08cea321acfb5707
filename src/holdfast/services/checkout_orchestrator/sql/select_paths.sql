-- Returns histories without payloads, and without deadlines that only sent again: a saga may have thousands.
select saga_id::text, seq, event_id, kind, path, at_ms
from saga_event
where saga_id = any(%(saga_ids)b::text[]::uuid[]) and (path <> '' or kind <> 'DeadlinePassed')
order by saga_id, seq
