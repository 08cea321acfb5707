-- Returns completed sagas whose cart was not cleared, and clearances of failed or unknown sagas.
select
    saga_id::text,
    format('%s, and its cart was %s', coalesce(s.state, 'nobody knows the saga'),
        case when c.saga_id is null then 'never cleared' else 'cleared' end)
from saga s
full join clear_log c using (saga_id)
where s.saga_id is null
    or (s.state in ('COMPLETED', 'FAILED') and (s.state = 'COMPLETED') <> (c.saga_id is not null))
