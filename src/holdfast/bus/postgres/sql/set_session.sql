-- One plan for a statement's life, by index whatever the statistics of a table that was empty say (what has no
-- index then looks so dear that it would be compiled: no jit); and no session of ours holds others up for long.
select
    set_config('plan_cache_mode', 'force_generic_plan', false),
    set_config('enable_seqscan', 'off', false),
    set_config('jit', 'off', false),
    set_config('lock_timeout', '10s', false),
    set_config('statement_timeout', '30s', false),
    set_config('idle_in_transaction_session_timeout', '10s', false)
