-- Returns orders of completed sagas whose owner, lines or total differ from the checkout, in both directions.
with bought as (
    select l.saga_id, s.user_id, l.sku, l.qty, l.unit_price
    from saga_line l
    join saga s using (saga_id)
    where s.state = 'COMPLETED'
),
placed as (
    select l.saga_id, o.user_id, l.sku, l.qty, l.unit_price
    from order_line l
    join orders o using (saga_id)
    where o.status = 'PLACED'
)
select saga_id::text, format('%s bought %s of %s at %s, but the order does not say so', user_id, qty, sku, unit_price)
from (select * from bought except all select * from placed) missing
union all
select saga_id::text, format('the order gives %s %s of %s at %s, which nobody bought', user_id, qty, sku, unit_price)
from (select * from placed except all select * from bought) invented
union all
select
    s.saga_id::text,
    format('the order''s total is %s %s, the checkout''s %s %s', o.total, o.ccy, s.amount, s.ccy)
from saga s
join orders o using (saga_id)
where s.state = 'COMPLETED' and o.status = 'PLACED' and (o.total, o.ccy) is distinct from (s.amount, s.ccy)
