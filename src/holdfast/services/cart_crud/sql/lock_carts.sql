-- Returns these carts, if they exist, and locks them in the order of their keys.
select c.cart_id, c.user_id, c.version, c.skus, c.quantities, c.held
from unnest(%(cart_ids)b::text[], %(user_ids)b::text[]) as u (cart_id, user_id)
join cart c on c.cart_id = u.cart_id and c.user_id = u.user_id
where c.cart_id = any(%(cart_ids)b::text[])
order by c.cart_id, c.user_id
for update of c
