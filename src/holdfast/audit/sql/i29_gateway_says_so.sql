-- Returns checkouts whose end the gateway and the orchestrator state differently; before the end it may lag.
select c.saga_id::text, format('the gateway says %s, the saga is %s', c.last_status, coalesce(s.state, 'unknown'))
from checkout c
left join saga s using (saga_id)
where c.last_status is distinct from s.state
    and (
        s.saga_id is null
        or s.state in ('COMPLETED', 'FAILED')
        or c.last_status in ('COMPLETED', 'FAILED')
    )
