-- Deletes the rows that only locked a saga id.
delete from saga where state = 'NEW' and saga_id = any(%(saga_ids)b::text[]::uuid[])
