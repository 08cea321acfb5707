create table product (
    sku text collate "C" primary key,
    price_minor bigint not null check (price_minor > 0),
    currency text not null check (currency ~ '^[A-Z]{3}$'),
    changed_at timestamptz not null default now()
);

-- A cart is one row: its lines are two arrays of equal length, in the order the shopper gave.
-- Its id is unique among its user's own carts only, so that no user can take or find out another's.
create table cart (
    cart_id text collate "C" not null,
    user_id text collate "C" not null,
    version bigint not null default 1,
    skus text[] not null,
    quantities bigint[] not null,
    held text not null default '',
    changed_at timestamptz not null default now(),
    primary key (cart_id, user_id),
    check (cardinality(skus) = cardinality(quantities) and cardinality(skus) <= 200)
) with (fillfactor = 70);

create view cart_line as
select c.cart_id, c.user_id, u.sku, u.qty from cart c, unnest(c.skus, c.quantities) as u (sku, qty);

-- Append only: what each saga found in its cart and took.
create table clear_log (
    saga_id uuid primary key,
    cart_id text not null,
    user_id text not null,
    version_left bigint not null,
    skus text[] not null,
    quantities_before bigint[] not null,
    quantities_removed bigint[] not null,
    at timestamptz not null default now()
);

create view clear_log_line as
select l.saga_id, u.sku, u.qty_before, u.qty_removed
from clear_log l, unnest(l.skus, l.quantities_before, l.quantities_removed) as u (sku, qty_before, qty_removed);
