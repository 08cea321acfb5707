select saga_id, step, state from fence
