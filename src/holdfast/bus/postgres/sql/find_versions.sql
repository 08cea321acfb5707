-- Returns whether the table of applied migrations exists. Reads the catalog itself: to_regclass may answer from a
-- cache that does not know yet what another session has just committed.
select exists (
    select
    from pg_catalog.pg_class
    where relname = 'versions' and relnamespace = to_regnamespace(current_schema())
)
