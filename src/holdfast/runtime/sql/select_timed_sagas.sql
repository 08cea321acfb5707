-- Returns the sagas that have a timer.
select distinct saga_id::text from timers
