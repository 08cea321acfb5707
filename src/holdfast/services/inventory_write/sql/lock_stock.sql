-- Returns the stock of these codes and locks the rows in the order of codes.
select sku, initial, on_hand, reserved, sold
from stock
where sku = any(%(skus)b::text[])
order by sku
for update
