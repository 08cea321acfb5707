-- Returns the steps of failed sagas that are done, or may yet be done.
select f.saga_id::text, format('FAILED, but %s is still %s', f.step, f.state)
from fence f
join saga s using (saga_id)
where s.state = 'FAILED' and f.state in ('RUNNING', 'DONE', 'UNDOING', 'CONFIRMED')
