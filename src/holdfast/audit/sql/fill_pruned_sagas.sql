-- Adds the sagas whose rows were pruned, from the books that stay: a saga completed if it has a placed order, and
-- failed otherwise; all else about it must agree with that. Only ids below the pruned key are added: a younger
-- saga without a row stays missing, so that the invariants report it.
with known as (
    select saga_id from orders
    union select saga_id from payment_fact
    union select saga_id from stock_movement
    union select saga_id from clear_log
    union select saga_id from prov where saga_id is not null
    union select saga_id from checkout
)
insert into saga (saga_id, state, version, pruned, user_id, amount, ccy, skus, quantities, prices)
select
    t.saga_id, case when o.saga_id is null then 'FAILED' else 'COMPLETED' end, 0, true,
    o.user_id, o.total, o.ccy, o.skus, o.quantities, o.prices
from known t
join pruned p on p.service = 'checkout-orchestrator' and p.name = 'saga' and t.saga_id < p.before_id
left join orders o on o.saga_id = t.saga_id and o.status = 'PLACED'
left join saga s on s.saga_id = t.saga_id
where s.saga_id is null
