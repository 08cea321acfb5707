select sku, initial, on_hand, reserved, sold from stock
