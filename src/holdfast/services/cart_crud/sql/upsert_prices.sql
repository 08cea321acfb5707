-- Inserts or replaces prices.
insert into product (sku, price_minor, currency)
select sku, price_minor, currency
from unnest(%(skus)b::text[], %(prices)b::bigint[], %(currencies)b::text[]) as u (sku, price_minor, currency)
order by sku
on conflict (sku) do update
set price_minor = excluded.price_minor, currency = excluded.currency, changed_at = now()
