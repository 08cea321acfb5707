-- Creates the temporary tables and views that the invariants' queries read. The tables hold the facts of the
-- services and the provider, filled by COPY; the views have one row per line of a cart.
set temp_buffers = '128MB';
set work_mem = '64MB';
set jit = off;

create temporary table saga (
    saga_id uuid not null,
    state text not null,
    version bigint not null,
    pruned boolean not null default false,
    began_with text,
    user_id text,
    amount bigint,
    ccy text,
    skus text[],
    quantities bigint[],
    prices bigint[]
);

-- Below `before_id`, a service may have deleted rows of its table `name`.
create temporary table pruned (service text not null, name text not null, before_id uuid not null);

create temporary table saga_event (
    saga_id uuid not null,
    seq bigint not null,
    event_id text not null,
    path text not null
);

-- Each step, its service, and the state of its fence row once its saga has completed.
create temporary table saga_step (service text not null, step text not null, state text not null);

create temporary table legal_edge (from_state text not null, to_state text not null);

create temporary table fence (saga_id uuid not null, step text not null, state text not null);

-- Below `before_id`, a step's fence row may be deleted, or written anew by an old message: it proves nothing.
create temporary view pruned_step as
select s.step, p.before_id
from pruned p
join saga_step s using (service)
where p.name = 'fence';

create temporary table stock (
    sku text collate "C" not null,
    initial bigint not null,
    on_hand bigint not null,
    reserved bigint not null,
    sold bigint not null
);

create temporary table stock_movement (
    saga_id uuid not null,
    direction text not null,
    skus text[] not null,
    quantities bigint[] not null
);

create temporary table payment_fact (
    saga_id uuid not null,
    idem_key text not null,
    amount bigint not null,
    ccy text not null,
    state text not null,
    refund_id text not null
);

-- `saga_id` is null if the metadata's saga id is no UUID; `claimed` is the text that they hold.
create temporary table prov (
    ref text not null,
    idem_key text,
    saga_id uuid,
    claimed text,
    kind text not null,
    amount bigint not null,
    ccy text not null,
    status text not null
);

create temporary table orders (
    saga_id uuid not null,
    order_id text not null,
    user_id text not null,
    total bigint not null,
    ccy text not null,
    status text not null,
    skus text[] not null,
    quantities bigint[] not null,
    prices bigint[] not null
);

create temporary table clear_log (
    saga_id uuid not null,
    user_id text not null,
    skus text[] not null,
    quantities_before bigint[] not null,
    quantities_removed bigint[] not null
);

create temporary table checkout (
    saga_id uuid not null,
    user_id text not null,
    idem_key text not null,
    last_status text not null
);

create temporary view saga_line as
select s.saga_id, u.sku, u.qty, u.unit_price
from saga s, unnest(s.skus, s.quantities, s.prices) as u (sku, qty, unit_price);

-- A saga's pieces by code: a snapshot may have a code in several lines, stock and cart have it once.
create temporary view saga_piece as
select saga_id, sku collate "C" as sku, sum(qty) as qty from saga_line group by 1, 2;

create temporary view stock_movement_line as
select m.saga_id, u.sku collate "C" as sku, m.direction, u.qty
from stock_movement m, unnest(m.skus, m.quantities) as u (sku, qty);

create temporary view reservation as
select
    l.saga_id, l.sku, l.qty,
    case
        when f.state = 'DONE' then 'RESERVED'
        when f.state = 'CONFIRMED' then 'CONFIRMED'
        -- If the fence row was pruned, the movement that ended the reservation says how it ended.
        when p.step is not null and e.direction = 'sell' then 'CONFIRMED'
        when p.step is not null and e.direction is null then 'RESERVED'
        else 'RELEASED'
    end as state
from stock_movement_line l
left join fence f on f.saga_id = l.saga_id and f.step = 'inventory'
left join pruned_step p on p.step = 'inventory' and l.saga_id < p.before_id
left join stock_movement e on e.saga_id = l.saga_id and e.direction <> 'reserve' and p.step is not null
where l.direction = 'reserve';

-- `open`: the saga still waits for the provider's answer.
create temporary view payment as
select
    p.*,
    coalesce(f.state in ('RUNNING', 'UNDOING') and s.state not in ('COMPLETED', 'FAILED'), false) as open
from payment_fact p
left join fence f on f.saga_id = p.saga_id and f.step = 'payment'
left join saga s on s.saga_id = p.saga_id;

create temporary view order_line as
select o.saga_id, u.sku, u.qty, u.unit_price
from orders o, unnest(o.skus, o.quantities, o.prices) as u (sku, qty, unit_price);

create temporary view clear_log_line as
select l.saga_id, u.sku collate "C" as sku, u.qty_before, u.qty_removed
from clear_log l, unnest(l.skus, l.quantities_before, l.quantities_removed) as u (sku, qty_before, qty_removed);
