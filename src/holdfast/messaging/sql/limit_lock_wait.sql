-- Sets how long this transaction waits at most for each lock.
select set_config('lock_timeout', %(wait)s, true)
