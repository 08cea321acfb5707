-- Sets up a session: one plan per statement, by index even if the statistics are from an empty table; no jit, because
-- a scan without an index then looks so costly that it would be compiled; and short limits, so as not to block others.
select
    set_config('plan_cache_mode', 'force_generic_plan', false),
    set_config('enable_seqscan', 'off', false),
    set_config('jit', 'off', false),
    set_config('lock_timeout', '10s', false),
    set_config('statement_timeout', '30s', false),
    set_config('idle_in_transaction_session_timeout', '10s', false)
