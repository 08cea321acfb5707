select saga_id, seq, event_id, path from saga_event
