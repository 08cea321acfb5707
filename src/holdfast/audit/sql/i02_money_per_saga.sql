-- Returns ended sagas for which the provider does not hold exactly the amount: once if completed, none if failed.
with held as (
    select
        s.saga_id, s.state, s.amount, s.ccy,
        count(*) filter (where p.kind = 'charge') as charges,
        count(*) filter (where p.kind = 'refund') as refunds,
        coalesce(sum(case p.kind when 'charge' then p.amount else -p.amount end), 0) as net,
        coalesce(bool_or(p.ccy <> s.ccy), false) as foreign_money
    from saga s
    left join prov p on p.saga_id = s.saga_id and p.status = 'ok'
    where s.state in ('COMPLETED', 'FAILED')
    group by s.saga_id, s.state, s.amount, s.ccy
)
select
    saga_id::text,
    format('%s, worth %s %s, but the provider holds %s (%s charges, %s refunds)%s',
        state, coalesce(amount::text, 'nothing'), ccy, net, charges, refunds,
        case when foreign_money then ' in another currency' end)
from held
where (state = 'COMPLETED' and (charges <> 1 or refunds <> 0 or net is distinct from amount or foreign_money))
    or (state = 'FAILED' and net <> 0)
