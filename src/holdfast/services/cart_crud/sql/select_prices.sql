-- Returns the prices of these codes.
select sku, price_minor, currency from product where sku = any(%(skus)b::text[])
