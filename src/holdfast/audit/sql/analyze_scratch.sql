-- Analyzes the temporary tables: autovacuum does not, and a plan made for empty tables takes minutes on full ones.
analyze saga, saga_event, fence, stock, stock_movement, payment_fact, prov, orders, clear_log, checkout, pruned
