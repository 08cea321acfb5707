select cart_id, max(cart_version_left)
from checkout
where cart_id = any(%(cart_ids)b::text[]) and last_status = 'COMPLETED' and last_status <> 'FAILED'
group by cart_id
