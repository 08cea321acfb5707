create table stock (
    sku text collate "C" primary key,
    initial bigint not null check (initial >= 0),
    on_hand bigint not null check (on_hand >= 0),
    reserved bigint not null default 0 check (reserved >= 0),
    sold bigint not null default 0 check (sold >= 0),
    constraint pieces_are_conserved check (on_hand + reserved + sold = initial)
) with (fillfactor = 50);

-- Append only: one row per saga and direction, its pieces as two arrays of equal length.
create table stock_movement (
    saga_id uuid not null,
    direction text not null check (direction in ('reserve', 'release', 'sell')),
    skus text[] not null,
    quantities bigint[] not null,
    at timestamptz not null default now(),
    primary key (saga_id, direction),
    check (cardinality(skus) = cardinality(quantities))
);

create view stock_movement_line as
select m.saga_id, u.sku, m.direction, u.qty
from stock_movement m, unnest(m.skus, m.quantities) as u (sku, qty);

create view reservation as
select
    m.saga_id, u.sku, u.qty,
    case f.state when 'DONE' then 'RESERVED' when 'CONFIRMED' then 'CONFIRMED' else 'RELEASED' end as state
from stock_movement m
left join fence f on f.saga_id = m.saga_id and f.step = 'inventory',
    unnest(m.skus, m.quantities) as u (sku, qty)
where m.direction = 'reserve';
