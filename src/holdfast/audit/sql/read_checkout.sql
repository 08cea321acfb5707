-- Returns all checkouts of the gateway.
select saga_id, user_id, idem_key, last_status from checkout
