-- Returns by currency how much was charged, how much was refunded, and what the completed sagas are worth.
select
    ccy,
    sum(amount) filter (where kind = 'charge')::bigint,
    sum(amount) filter (where kind = 'refund')::bigint,
    sum(amount) filter (where kind = 'saga')::bigint
from (
    select ccy, kind, amount from prov where status = 'ok'
    union all
    select ccy, 'saga', amount from saga where state = 'COMPLETED'
) x
where ccy is not null
group by ccy
order by ccy
