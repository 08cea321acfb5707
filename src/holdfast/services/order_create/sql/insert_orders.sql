-- Writes new orders with their lines.
insert into orders (order_id, saga_id, user_id, currency, total_minor, status, skus, quantities, prices_minor)
select o.order_id, o.saga_id::uuid, o.user_id, o.currency, o.total, o.status, l.skus, l.quantities, l.prices
from unnest(
    %(order_ids)b::text[], %(saga_ids)b::text[], %(user_ids)b::text[], %(currencies)b::text[],
    %(totals)b::bigint[], %(statuses)b::text[]
) with ordinality as o (order_id, saga_id, user_id, currency, total, status, n)
join (
    select
        number + 1 as n,
        array_agg(sku order by m) as skus,
        array_agg(quantity order by m) as quantities,
        array_agg(price order by m) as prices
    from unnest(
        %(numbers)b::integer[], %(skus)b::text[], %(quantities)b::bigint[], %(prices)b::bigint[]
    ) with ordinality as u (number, sku, quantity, price, m)
    group by number
) l using (n)
