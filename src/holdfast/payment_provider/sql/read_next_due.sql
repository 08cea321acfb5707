select min(due_ms) from due
