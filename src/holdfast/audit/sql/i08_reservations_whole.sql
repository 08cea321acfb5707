-- Returns reservations that are incomplete or missing, left over after a failure, or of a saga that does not exist.
select
    s.saga_id::text,
    format('COMPLETED with %s of %s, but the reservation is %s of %s',
        coalesce(p.qty, 0), sku, coalesce(r.state, 'missing,'), coalesce(r.qty, 0))
from (
    select p.saga_id, p.sku, p.qty from saga_piece p join saga using (saga_id) where state = 'COMPLETED'
) p
full join (
    select r.saga_id, r.sku, sum(r.qty) as qty, r.state
    from reservation r
    join saga s using (saga_id)
    where s.state = 'COMPLETED'
    group by r.saga_id, r.sku, r.state
) r using (saga_id, sku)
join saga s on s.saga_id = coalesce(p.saga_id, r.saga_id)
where r.state is distinct from 'CONFIRMED' or r.qty is distinct from p.qty
union all
select r.saga_id::text, format('FAILED, but %s of %s are still %s', r.qty, r.sku, r.state)
from reservation r
join saga s using (saga_id)
where s.state = 'FAILED' and r.state in ('RESERVED', 'CONFIRMED')
union all
select r.saga_id::text, format('%s of %s are %s for a saga that does not exist', r.qty, r.sku, r.state)
from reservation r
left join saga s using (saga_id)
where s.saga_id is null
