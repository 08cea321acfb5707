-- Sets the initial pieces of codes; the pieces on hand of known codes change by the difference.
insert into stock (sku, initial, on_hand)
select sku, pieces, pieces from unnest(%(skus)b::text[], %(pieces)b::bigint[]) as u (sku, pieces)
order by sku
on conflict (sku) do update
set initial = excluded.initial, on_hand = stock.on_hand + excluded.initial - stock.initial
