-- Returns a page of stock in the order of codes.
select sku, initial, on_hand, reserved, sold from stock where sku > %(after)s order by sku limit %(limit)s
