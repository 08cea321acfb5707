-- Deletes an event that was sent or given up.
delete from events where seq = :seq
