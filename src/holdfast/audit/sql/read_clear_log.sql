-- Returns all clearances of carts.
select saga_id, user_id, skus, quantities_before, quantities_removed from clear_log
