-- Returns all fence rows.
select saga_id, step, state from fence
