-- Returns the objects that take their final status now, the longest due first.
select ref, ends from due where due_ms <= :now_ms order by due_ms, ref
