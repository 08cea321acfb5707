insert into cart (cart_id, user_id, version, skus, quantities)
select u.cart_id, u.user_id, u.version, coalesce(l.skus, '{}'), coalesce(l.quantities, '{}')
from unnest(%(cart_ids)b::text[], %(user_ids)b::text[], %(versions)b::bigint[]) as u (cart_id, user_id, version)
left join (
    select cart_id, array_agg(sku order by n) as skus, array_agg(quantity order by n) as quantities
    from unnest(%(line_carts)b::text[], %(skus)b::text[], %(quantities)b::bigint[])
        with ordinality as x (cart_id, sku, quantity, n)
    group by cart_id
) l using (cart_id)
order by u.cart_id
on conflict (cart_id) do nothing
