select sku, price_minor, currency from product where sku > %(after)s order by sku limit %(limit)s
