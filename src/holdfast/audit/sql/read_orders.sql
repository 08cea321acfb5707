-- Returns all orders.
select saga_id, order_id, user_id, total_minor, currency, status, skus, quantities, prices_minor from orders
