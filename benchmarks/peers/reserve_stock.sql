-- Takes the pieces out of stock and writes the movement; inserts nothing if one code has too few.
with wanted as (
    select * from unnest($2::text[], $3::bigint[]) as u (sku, quantity)
),
locked as (
    select sku from stock where sku = any($2::text[]) order by sku for update
),
taken as (
    update stock s
    set on_hand = s.on_hand - w.quantity
    from wanted w join locked l using (sku)
    where s.sku = w.sku and s.on_hand >= w.quantity
    returning s.sku
)
insert into stock_movement (saga_id, skus, quantities)
select $1::uuid, $2::text[], $3::bigint[]
where (select count(*) from taken) = cardinality($2::text[])
