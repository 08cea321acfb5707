-- Returns a row if the database exists.
select 1 from pg_database where datname = %s
