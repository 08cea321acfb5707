-- Deletes checkouts that this transaction has inserted.
delete from checkout where saga_id = any(%(saga_ids)b::text[]::uuid[])
