-- Returns products with negative stock, or of which more was sold than there was.
select sku, format('initial %s, on hand %s, reserved %s, sold %s', initial, on_hand, reserved, sold)
from stock
where on_hand < 0 or reserved < 0 or sold > initial
