-- Returns a page of unknown or owed payments. Each has an open call, so it begins at the timers, which are few.
with open as materialized (
    select saga_id, verb, since_ms, due_ms, fired, end_offset
    from timers
    where kind = 'resolve' and step = 'payment' and saga_id >= %(from_id)s::uuid
)
select
    p.saga_id::text, p.user_id, p.payment_method, p.amount_minor, p.currency, p.charge_id, p.refund_id,
    p.decline_code, p.last_error, p.same_error, f.state, f.submitted_at is not null, f.undo_requested, t.verb,
    t.since_ms, t.due_ms, t.fired, t.end_offset
from open t
join payment p on p.saga_id = t.saga_id and p.saga_id = any(array(select saga_id from open))
join fence f
    on f.saga_id = t.saga_id and f.step = 'payment' and f.saga_id = any(array(select saga_id from open))
where
    case %(which)s::text
        when 'owed' then t.verb = 'undo'
        else
            t.verb = 'do'
            and f.submitted_at is not null
            and (p.last_error <> '' or t.since_ms < (extract(epoch from now()) * 1000)::bigint - %(unknown_after_ms)s)
    end
order by t.saga_id
limit %(limit)s
