-- Sums unknown and owed payments by currency. Each has an open call, so it begins at the timers, which are few.
with open as materialized (
    select saga_id, verb, since_ms
    from timers
    where kind = 'resolve' and step = 'payment'
)
select
    case t.verb when 'undo' then 'owed' else 'unknown' end as which, p.currency, count(*),
    sum(p.amount_minor)::bigint, min(t.since_ms)
from open t
join payment p on p.saga_id = t.saga_id and p.saga_id = any(array(select saga_id from open))
join fence f
    on f.saga_id = t.saga_id and f.step = 'payment' and f.saga_id = any(array(select saga_id from open))
where
    t.verb = 'undo'
    or (
        f.submitted_at is not null
        and (p.last_error <> '' or t.since_ms < (extract(epoch from now()) * 1000)::bigint - %(unknown_after_ms)s)
    )
group by which, p.currency
order by which, p.currency
