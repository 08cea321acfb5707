-- Appends movements; a second one of the same saga and direction is an error.
insert into stock_movement (saga_id, direction, skus, quantities)
select m.saga_id::uuid, m.direction, p.skus, p.quantities
from unnest(%(saga_ids)b::text[], %(directions)b::text[]) with ordinality as m (saga_id, direction, n)
join (
    select number + 1 as n, array_agg(sku order by sku) as skus, array_agg(quantity order by sku) as quantities
    from unnest(%(numbers)b::integer[], %(skus)b::text[], %(quantities)b::bigint[]) as u (number, sku, quantity)
    group by number
) p using (n)
