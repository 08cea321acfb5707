-- Confirmed, where a confirm exists.
select
    s.saga_id::text,
    'COMPLETED, but ' || string_agg(
        format('%s is %s, not %s', e.step, coalesce(f.state, 'missing'), e.state), '; ' order by e.step
    )
from saga s
cross join (
    values ('inventory', 'CONFIRMED'), ('payment', 'CONFIRMED'), ('order', 'CONFIRMED'), ('cart', 'DONE')
) as e (step, state)
left join fence f on f.saga_id = s.saga_id and f.step = e.step
where s.state = 'COMPLETED' and f.state is distinct from e.state
group by s.saga_id
