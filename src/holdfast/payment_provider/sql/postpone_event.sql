update events set attempts = attempts + 1, due_ms = :due_ms where seq = :seq
