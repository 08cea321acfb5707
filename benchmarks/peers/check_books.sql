-- Returns what does not balance: the name of each rule that is broken, with both sides.
select 'as many of each' as rule, m::text, format('%%s, %%s, %%s', p, o, c)
from (
    select
        (select count(*) from stock_movement) as m,
        (select count(*) from payment) as p,
        (select count(*) from orders) as o,
        (select count(*) from clear_log) as c
) as counts
where m <> p or m <> o or m <> c or m <> %(checkouts)s
union all
select 'stock is conserved', %(stock)s::text, (on_hand + moved)::text
from (select sum(on_hand) as on_hand from stock) s, (
    select coalesce(sum(q), 0) as moved from stock_movement, unnest(quantities) as q
) m
where on_hand + moved <> %(stock)s
union all
select 'paid is ordered', saga_id::text, format('%%s, %%s', p.amount_minor, o.total_minor)
from payment p full join orders o using (saga_id)
where p.amount_minor is distinct from o.total_minor
union all
select 'what was cleared was ordered', saga_id::text, format('%%s, %%s', c.skus, o.skus)
from clear_log c full join orders o using (saga_id)
where c.skus is distinct from o.skus or c.quantities is distinct from o.quantities
union all
select 'a cleared cart is empty', cart_id, version::text
from clear_log join cart using (cart_id)
where cardinality(cart.skus) > 0 or cart.version <> 2
