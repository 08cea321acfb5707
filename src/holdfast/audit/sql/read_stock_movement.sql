-- Returns all stock movements.
select saga_id, direction, skus, quantities from stock_movement
