-- Releases this session's advisory lock.
select pg_advisory_unlock(%(key)s)
