-- Returns which of these batches are still in the outbox.
select id from outbox where id = any(%(ids)b::bigint[])
