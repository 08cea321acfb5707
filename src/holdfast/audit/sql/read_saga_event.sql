-- Returns the history of all sagas.
select saga_id, seq, event_id, path from saga_event
