-- Writes the payment that the provider, which answers inside the process, has made.
insert into payment (saga_id, user_id, payment_method, amount_minor, currency, charge_id)
values ($1::uuid, $2::text, 'pm_card_visa', $3::bigint, 'GBP', 'pi_' || $1::text)
