-- Returns which of these roles exist.
select rolname from pg_roles where rolname = any(%s)
