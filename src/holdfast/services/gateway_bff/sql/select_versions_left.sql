-- Returns for each cart the highest version at which a completed checkout left it.
select c.cart_id, c.user_id, max(c.cart_version_left)
from unnest(%(cart_ids)b::text[], %(user_ids)b::text[]) as u (cart_id, user_id)
join checkout c on c.cart_id = u.cart_id and c.user_id = u.user_id
where c.cart_id = any(%(cart_ids)b::text[]) and c.last_status = 'COMPLETED' and c.last_status <> 'FAILED'
group by c.cart_id, c.user_id
