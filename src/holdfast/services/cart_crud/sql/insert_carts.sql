-- Inserts new carts and skips those that exist.
insert into cart (cart_id, user_id, version, skus, quantities)
select u.cart_id, u.user_id, u.version, coalesce(l.skus, '{}'), coalesce(l.quantities, '{}')
from unnest(%(cart_ids)b::text[], %(user_ids)b::text[], %(versions)b::bigint[])
    with ordinality as u (cart_id, user_id, version, place)
left join (
    select place, array_agg(sku order by n) as skus, array_agg(quantity order by n) as quantities
    from unnest(%(line_places)b::bigint[], %(skus)b::text[], %(quantities)b::bigint[])
        with ordinality as x (place, sku, quantity, n)
    group by place
) l using (place)
order by u.cart_id, u.user_id
on conflict (cart_id, user_id) do nothing
