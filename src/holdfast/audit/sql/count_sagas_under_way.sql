select count(*) from saga where state not in ('COMPLETED', 'FAILED') and stalled_ms = 0
