-- Empties the cart and writes what was taken out of it.
with cleared as (
    update cart set version = version + 1, skus = '{}', quantities = '{}'
    where cart_id = $2::text
    returning version
)
insert into clear_log (saga_id, cart_id, version_left, skus, quantities)
select $1::uuid, $2::text, version, $3::text[], $4::bigint[] from cleared
