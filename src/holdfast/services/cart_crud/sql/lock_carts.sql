select cart_id, user_id, version, skus, quantities, held
from cart
where cart_id = any(%(cart_ids)b::text[])
order by cart_id
for update
