-- Tries to take the lock on the schema until the transaction ends, returns whether it has it.
select pg_try_advisory_xact_lock(hashtext('holdfast.bus'))
