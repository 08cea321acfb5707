select rolname from pg_roles where rolname = any(%s)
