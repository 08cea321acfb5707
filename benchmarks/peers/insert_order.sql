-- Writes the order with its lines.
insert into orders (saga_id, user_id, status, currency, total_minor, skus, quantities, prices_minor)
values ($1::uuid, $2::text, 'PLACED', 'GBP', $3::bigint, $4::text[], $5::bigint[], $6::bigint[])
