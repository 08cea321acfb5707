-- Nobody else does it for temporary tables, and a plan for empty ones takes minutes on full ones.
analyze saga, saga_event, fence, stock, stock_movement, payment_fact, prov, orders, clear_log, checkout, pruned
