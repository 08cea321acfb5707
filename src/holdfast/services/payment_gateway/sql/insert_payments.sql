-- Writes new intents to charge.
insert into payment (saga_id, user_id, payment_method, amount_minor, currency)
select saga_id::uuid, user_id, payment_method, amount, currency
from unnest(
    %(saga_ids)b::text[], %(user_ids)b::text[], %(payment_methods)b::text[], %(amounts)b::bigint[],
    %(currencies)b::text[]
) as u (saga_id, user_id, payment_method, amount, currency)
