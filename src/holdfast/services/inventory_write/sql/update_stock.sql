-- Writes the pieces of each row.
update stock s
set on_hand = u.on_hand, reserved = u.reserved, sold = u.sold
from unnest(%(skus)b::text[], %(on_hand)b::bigint[], %(reserved)b::bigint[], %(sold)b::bigint[])
    as u (sku, on_hand, reserved, sold)
where s.sku = u.sku and s.sku = any(%(skus)b::text[])
