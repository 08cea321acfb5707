-- Returns a page of payments with their fence row and open call.
with page as (
    select *
    from payment
    where saga_id >= %(from_id)s::uuid
    order by saga_id
    limit %(limit)s
)
select
    p.saga_id::text, p.user_id, p.payment_method, p.amount_minor, p.currency, p.charge_id, p.refund_id,
    p.decline_code, p.last_error, p.same_error, coalesce(f.state, 'PRUNED'), f.submitted_at is not null,
    coalesce(f.undo_requested, false), coalesce(t.verb, ''),
    coalesce(t.since_ms, 0), coalesce(t.due_ms, 0), coalesce(t.fired, 0), coalesce(t.end_offset, 0)
from page p
left join fence f
    on f.saga_id = p.saga_id and f.step = 'payment' and f.saga_id = any(array(select saga_id from page))
left join lateral (
    select verb, since_ms, due_ms, fired, end_offset
    from timers
    where saga_id = p.saga_id and step = 'payment' and kind = 'resolve'
    order by verb
    limit 1
) t on true
order by p.saga_id
