-- Returns charges that differ between our payments and the provider's ledger, in both directions, under any key.
select
    coalesce(p.saga_id::text, c.claimed, c.idem_key, c.ref),
    format('our payment says %s, %s %s; the provider''s charge says %s, %s %s',
        coalesce(p.state, 'nothing'), p.amount, p.ccy, coalesce(c.status, 'nothing'), c.amount, c.ccy)
from payment p
full join (select * from prov where kind = 'charge') c on c.idem_key = p.idem_key
where not coalesce(p.open, false)
    and (
        coalesce(p.state in ('CAPTURED', 'REFUNDED'), false) <> coalesce(c.status = 'ok', false)
        or p.amount <> c.amount
        or p.ccy <> c.ccy
    )
