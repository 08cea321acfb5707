-- Returns how many sagas have not ended; stalled ones do not count.
select count(*) from saga where state not in ('COMPLETED', 'FAILED') and stalled_ms = 0
