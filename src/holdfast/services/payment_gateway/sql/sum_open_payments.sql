select
    case t.verb when 'undo' then 'owed' else 'unknown' end as which, p.currency, count(*),
    sum(p.amount_minor)::bigint, min(t.since_ms)
from timers t
join payment p on p.saga_id = t.saga_id
join fence f on f.saga_id = t.saga_id and f.step = 'payment'
where
    t.kind = 'resolve'
    and t.step = 'payment'
    and (
        t.verb = 'undo'
        or (
            f.submitted_at is not null
            and (p.last_error <> '' or t.since_ms < (extract(epoch from now()) * 1000)::bigint - %(unknown_after_ms)s)
        )
    )
group by which, p.currency
order by which, p.currency
