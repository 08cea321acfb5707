update cart c
set version = u.version, skus = coalesce(l.skus, '{}'), quantities = coalesce(l.quantities, '{}'), changed_at = now()
from unnest(%(cart_ids)b::text[], %(versions)b::bigint[]) as u (cart_id, version)
left join (
    select cart_id, array_agg(sku order by n) as skus, array_agg(quantity order by n) as quantities
    from unnest(%(line_carts)b::text[], %(skus)b::text[], %(quantities)b::bigint[])
        with ordinality as x (cart_id, sku, quantity, n)
    group by cart_id
) l using (cart_id)
where c.cart_id = u.cart_id and c.cart_id = any(%(cart_ids)b::text[])
