-- The same for refunds, which are made under a key of their own.
select
    coalesce(p.saga_id::text, r.claimed, r.idem_key, r.ref),
    format('our payment says %s, %s %s; the provider''s refund says %s, %s %s',
        coalesce(p.state, 'nothing'), p.amount, p.ccy, coalesce(r.status, 'nothing'), r.amount, r.ccy)
from payment p
full join (select * from prov where kind = 'refund') r on r.idem_key = p.saga_id || ':payment:undo'
where not coalesce(p.open, false)
    and (
        coalesce(p.state = 'REFUNDED', false) <> coalesce(r.status = 'ok', false)
        or p.amount <> r.amount
        or p.ccy <> r.ccy
    )
