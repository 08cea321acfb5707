-- Returns all payments with their states.
select saga_id, idem_key, amount, ccy, state, refund_id from payment_state
