-- Writes the version and lines of carts that exist.
update cart c
set version = u.version, skus = coalesce(l.skus, '{}'), quantities = coalesce(l.quantities, '{}'), changed_at = now()
from unnest(%(cart_ids)b::text[], %(user_ids)b::text[], %(versions)b::bigint[])
    with ordinality as u (cart_id, user_id, version, place)
left join (
    select place, array_agg(sku order by n) as skus, array_agg(quantity order by n) as quantities
    from unnest(%(line_places)b::bigint[], %(skus)b::text[], %(quantities)b::bigint[])
        with ordinality as x (place, sku, quantity, n)
    group by place
) l using (place)
where c.cart_id = u.cart_id and c.user_id = u.user_id and c.cart_id = any(%(cart_ids)b::text[])
