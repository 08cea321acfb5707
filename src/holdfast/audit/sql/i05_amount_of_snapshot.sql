-- Returns sagas whose total is not the sum of their lines, or not positive. A saga that was cancelled before its
-- checkout arrived has no snapshot, nor has one that failed and was pruned.
select
    s.saga_id::text,
    format('the total is %s, the lines sum to %s', coalesce(s.amount::text, 'missing'), coalesce(l.total::text, 'nothing'))
from saga s
left join (
    select saga_id, sum(qty::numeric * unit_price) as total from saga_line group by saga_id
) l using (saga_id)
where s.began_with is distinct from 'CancellationRequested'
    and not (s.pruned and s.state = 'FAILED')
    and (s.amount is distinct from l.total or s.amount <= 0)
