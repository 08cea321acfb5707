-- Returns currencies in which the provider's charges less refunds differ from the worth of the completed sagas.
-- A saga under way counts in neither.
with flow as (
    select p.ccy, case p.kind when 'charge' then p.amount else -p.amount end as amount
    from prov p
    left join saga s using (saga_id)
    where p.status = 'ok' and (s.saga_id is null or s.state in ('COMPLETED', 'FAILED'))
    union all
    select ccy, -amount from saga where state = 'COMPLETED'
)
select
    ccy,
    format('the provider holds %s minor units %s than the completed checkouts are worth',
        abs(sum(amount)), case when sum(amount) > 0 then 'more' else 'less' end)
from flow
group by ccy
having sum(amount) <> 0
