select sku, initial, on_hand, reserved, sold from stock where sku > %(after)s order by sku limit %(limit)s
