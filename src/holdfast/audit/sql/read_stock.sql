-- Returns the stock of all products.
select sku, initial, on_hand, reserved, sold from stock
