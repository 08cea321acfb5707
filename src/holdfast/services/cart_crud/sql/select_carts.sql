-- Returns these carts, then the prices of all their codes; a price row has null from the fourth column on.
with found as (
    select c.cart_id, c.user_id, c.version, c.skus, c.quantities, c.held
    from unnest(%(cart_ids)b::text[], %(user_ids)b::text[]) as u (cart_id, user_id)
    join cart c on c.cart_id = u.cart_id and c.user_id = u.user_id
    where c.cart_id = any(%(cart_ids)b::text[])
)
select cart_id, user_id, version, skus, quantities, held from found
union all
select sku, currency, price_minor, null, null, null
from product
where sku = any(array(select distinct unnest(skus) from found))
