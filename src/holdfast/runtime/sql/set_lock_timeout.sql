-- Bounds this session's waits for locks.
set lock_timeout = '10s'
