create table orders (
    saga_id uuid primary key,
    order_id text not null,
    user_id text not null,
    currency text not null,
    total_minor bigint not null check (total_minor >= 0),
    status text not null check (status in ('PENDING', 'PLACED', 'CANCELED')),
    skus text[] not null,
    quantities bigint[] not null,
    prices_minor bigint[] not null,
    created_at timestamptz not null default now(),
    changed_at timestamptz not null default now(),
    check (cardinality(skus) = cardinality(quantities) and cardinality(skus) = cardinality(prices_minor))
) with (fillfactor = 70);

create view order_line as
select o.order_id, u.sku, u.qty, u.unit_price
from orders o, unnest(o.skus, o.quantities, o.prices_minor) as u (sku, qty, unit_price);
