-- Locks sagas in the order of their ids.
select 1 from saga where saga_id = any(%(saga_ids)b::text[]::uuid[]) order by saga_id for update
