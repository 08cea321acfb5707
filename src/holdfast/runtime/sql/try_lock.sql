-- Takes an advisory lock for this session, if it is free; returns whether it did.
select pg_try_advisory_lock(%(key)s)
