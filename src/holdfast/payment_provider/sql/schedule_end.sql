insert into due (ref, due_ms, ends) values (:ref, :due_ms, :ends)
