-- Returns events that stand in the history of a saga more than once.
select saga_id::text, format('%s changed the saga %s times', event_id, count(*))
from saga_event
group by saga_id, event_id
having count(*) > 1
