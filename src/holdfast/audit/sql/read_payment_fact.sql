select saga_id, idem_key, amount, ccy, state from payment_state
