-- Deletes published batches, skips locked ones: another instance is just deleting those. If that fails, the batch is
-- published again, which is harmless. So no transaction waits here for another one.
delete from outbox
where id = any(array(select id from outbox where id = any(%(ids)b::bigint[]) for update skip locked))
