-- Creates the business tables of one checkout, in one database: those of our services, without sagas and fences.
create table stock (
    sku text collate "C" primary key,
    on_hand bigint not null check (on_hand >= 0)
) with (fillfactor = 70);

create table stock_movement (
    saga_id uuid primary key,
    skus text[] not null,
    quantities bigint[] not null,
    at timestamptz not null default now()
);

create table payment (
    saga_id uuid primary key,
    user_id text not null,
    payment_method text not null,
    amount_minor bigint not null check (amount_minor > 0),
    currency text not null,
    charge_id text not null,
    at timestamptz not null default now()
);

create table orders (
    saga_id uuid primary key,
    user_id text not null,
    status text not null,
    currency text not null,
    total_minor bigint not null check (total_minor > 0),
    skus text[] not null,
    quantities bigint[] not null,
    prices_minor bigint[] not null,
    at timestamptz not null default now()
);

create table cart (
    cart_id text collate "C" primary key,
    user_id text not null,
    version bigint not null default 1,
    skus text[] not null,
    quantities bigint[] not null
) with (fillfactor = 70);

create table clear_log (
    saga_id uuid primary key,
    cart_id text not null,
    version_left bigint not null,
    skus text[] not null,
    quantities bigint[] not null,
    at timestamptz not null default now()
)
