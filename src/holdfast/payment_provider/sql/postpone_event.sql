-- Counts an attempt to send an event, and sets when to send it again.
update events set attempts = attempts + 1, due_ms = :due_ms where seq = :seq
