-- Every payment that is unknown or owed has an open call: the timers are few, the payments are not.
select
    p.saga_id::text, p.user_id, p.payment_method, p.amount_minor, p.currency, p.charge_id, p.refund_id,
    p.decline_code, p.last_error, p.same_error, f.state, f.submitted_at is not null, f.undo_requested, t.verb,
    t.since_ms, t.due_ms, t.fired, t.end_offset
from timers t
join payment p on p.saga_id = t.saga_id
join fence f on f.saga_id = t.saga_id and f.step = 'payment'
where
    t.kind = 'resolve'
    and t.step = 'payment'
    and t.saga_id >= %(from_id)s::uuid
    and case %(which)s::text
        when 'owed' then t.verb = 'undo'
        else
            t.verb = 'do'
            and f.submitted_at is not null
            and (p.last_error <> '' or t.since_ms < (extract(epoch from now()) * 1000)::bigint - %(unknown_after_ms)s)
    end
order by t.saga_id
limit %(limit)s
