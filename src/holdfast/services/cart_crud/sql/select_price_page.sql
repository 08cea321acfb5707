-- Returns a page of the price list in the order of codes.
select sku, price_minor, currency from product where sku > %(after)s order by sku limit %(limit)s
