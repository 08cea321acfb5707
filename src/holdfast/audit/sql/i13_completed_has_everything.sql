-- Returns completed sagas with a step that is not confirmed, or for the cart (no confirm exists) not done.
select
    s.saga_id::text,
    'COMPLETED, but ' || string_agg(
        format('%s is %s, not %s', e.step, coalesce(f.state, 'missing'), e.state), '; ' order by e.step
    )
from saga s
cross join saga_step e
left join fence f on f.saga_id = s.saga_id and f.step = e.step
left join pruned_step p on p.step = e.step and s.saga_id < p.before_id
where s.state = 'COMPLETED' and f.state is distinct from e.state and p.step is null
group by s.saga_id
