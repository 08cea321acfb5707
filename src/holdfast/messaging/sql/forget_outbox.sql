-- Deletes published batches. One that is locked is just being deleted by another instance; should that fail, the batch is
-- published again, which is harmless. Nobody's batch of messages waits for it.
delete from outbox
where id = any(array(select id from outbox where id = any(%(ids)b::bigint[]) for update skip locked))
