-- Returns the payments of these sagas.
select
    saga_id::text, user_id, payment_method, amount_minor, currency, charge_id, refund_id, decline_code, last_error,
    same_error
from payment
where saga_id = any(%(saga_ids)b::text[]::uuid[])
