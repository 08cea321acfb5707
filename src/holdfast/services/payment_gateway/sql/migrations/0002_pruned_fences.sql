-- The fence row of a payment that was resolved long ago is pruned: then the facts say how. An intent without any
-- was taken back before the provider heard of it.
create or replace view payment_state as
select
    p.saga_id, p.saga_id || ':payment:do' as idem_key, p.amount_minor as amount, p.currency as ccy, p.charge_id,
    p.refund_id,
    case
        when p.refund_id <> '' then 'REFUNDED'
        when p.charge_id <> '' then 'CAPTURED'
        when f.state = 'REFUSED' or (f.state is null and p.decline_code <> '') then 'DECLINED'
        when f.state = 'TOMBSTONE' or f.state is null then 'CANCELED'
        else 'UNKNOWN'
    end as state
from payment p
left join fence f on f.saga_id = p.saga_id and f.step = 'payment';
