-- Bounds how long each lock is waited for, until this transaction ends.
select set_config('lock_timeout', %(wait)s, true)
