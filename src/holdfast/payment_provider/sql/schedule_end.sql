-- Schedules the final status of an object.
insert into due (ref, due_ms, ends) values (:ref, :due_ms, :ends)
