-- Returns the checkouts whose end the gateway has not recorded.
select saga_id::text from checkout where last_status not in ('COMPLETED', 'FAILED')
