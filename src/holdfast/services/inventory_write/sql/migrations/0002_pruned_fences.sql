-- The fence row of a saga that ended long ago is pruned: then its movements say what became of the reservation.
create or replace view reservation as
select
    m.saga_id, u.sku, u.qty,
    case
        when f.state = 'DONE' then 'RESERVED'
        when f.state = 'CONFIRMED' or s.saga_id is not null then 'CONFIRMED'
        else 'RELEASED'
    end as state
from stock_movement m
left join fence f on f.saga_id = m.saga_id and f.step = 'inventory'
left join stock_movement s on s.saga_id = m.saga_id and s.direction = 'sell',
    unnest(m.skus, m.quantities) as u (sku, qty)
where m.direction = 'reserve';
