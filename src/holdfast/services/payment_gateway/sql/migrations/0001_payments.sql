-- Facts only; where a payment stands is in its fence row.
create table payment (
    saga_id uuid primary key,
    user_id text not null,
    payment_method text not null,
    amount_minor bigint not null check (amount_minor >= 0),
    currency text not null,
    charge_id text not null default '',
    refund_id text not null default '',
    decline_code text not null default '',
    last_error text not null default '',
    same_error integer not null default 0,
    created_at timestamptz not null default now(),
    changed_at timestamptz not null default now()
) with (fillfactor = 70);

-- What a reader outside asks for: the fact and the fence's state as one word.
create view payment_state as
select
    p.saga_id, p.saga_id || ':payment:do' as idem_key, p.amount_minor as amount, p.currency as ccy, p.charge_id,
    p.refund_id,
    case
        when p.refund_id <> '' then 'REFUNDED'
        when p.charge_id <> '' then 'CAPTURED'
        when f.state = 'REFUSED' then 'DECLINED'
        when f.state = 'TOMBSTONE' then 'CANCELED'
        else 'UNKNOWN'
    end as state
from payment p
left join fence f on f.saga_id = p.saga_id and f.step = 'payment';
