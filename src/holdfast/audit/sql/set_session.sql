-- Bounds this session's waits for locks and its idle time inside a transaction.
select
    set_config('lock_timeout', '10s', false),
    set_config('idle_in_transaction_session_timeout', '15min', false)
