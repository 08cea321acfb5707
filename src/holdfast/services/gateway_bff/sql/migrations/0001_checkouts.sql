create table checkout (
    saga_id uuid primary key,
    user_id text collate "C" not null,
    idem_key text not null,
    fingerprint bytea not null,
    cart_id text collate "C" not null,
    cart_version bigint not null,
    total_minor bigint not null check (total_minor > 0),
    currency text not null,
    created_ms bigint not null,
    last_status text not null default 'CHECKOUT_INITIATED',
    saga_version bigint not null default 0,
    order_id text not null default '',
    reason text not null default '',
    detail text not null default '',
    cart_version_left bigint not null default 0,
    initiated bytea not null,
    changed_at timestamptz not null default now(),
    constraint one_checkout_per_key unique (user_id, idem_key)
) with (fillfactor = 70);

create unique index one_open_checkout_per_cart on checkout (cart_id, user_id)
where last_status not in ('COMPLETED', 'FAILED');

create unique index one_purchase_per_cart_version on checkout (cart_id, user_id, cart_version)
where last_status <> 'FAILED';
