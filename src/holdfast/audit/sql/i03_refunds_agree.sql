-- Returns refunds that differ between our payments and the provider's ledger. A refund has its own key; one made by
-- hand has any key or none, and belongs to the payment that names it. Only refunds that moved money count.
select
    coalesce(p.saga_id::text, r.claimed, r.idem_key, r.ref),
    format('our payment says %s, %s %s; the provider''s refund says %s, %s %s',
        coalesce(p.state, 'nothing'), p.amount, p.ccy, coalesce(r.status, 'nothing'), r.amount, r.ccy)
from payment p
full join (
    select prov.*, coalesce(adopted.saga_id || ':payment:undo', prov.idem_key) as key
    from prov
    left join payment_fact adopted on adopted.refund_id = prov.ref
    where prov.kind = 'refund' and prov.status = 'ok'
) r on r.key = p.saga_id || ':payment:undo'
where not coalesce(p.open, false)
    and (
        coalesce(p.state = 'REFUNDED', false) <> (r.ref is not null)
        or p.amount <> r.amount
        or p.ccy <> r.ccy
    )
