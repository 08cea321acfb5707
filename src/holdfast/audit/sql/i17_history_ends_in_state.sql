-- Returns sagas whose state is not the last one of their history; pruned sagas have none.
select s.saga_id::text, format('the saga is %s, its history ends in %s', s.state, coalesce(e.state, 'nothing'))
from saga s
left join (
    select distinct on (saga_id) saga_id, substring(path from '[^,]+$') as state
    from saga_event
    where path <> ''
    order by saga_id, seq desc
) e using (saga_id)
where s.state is distinct from e.state and not s.pruned
