-- Makes `probe_writes`, which follows in this transaction, write a small temporary file.
select set_config('work_mem', '64kB', true)
