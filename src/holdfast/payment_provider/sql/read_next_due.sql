-- Returns when the next object takes its final status.
select min(due_ms) from due
