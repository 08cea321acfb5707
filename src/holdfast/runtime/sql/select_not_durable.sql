-- Returns the server's settings that make its commits less than durable.
select name from pg_settings where name in ('fsync', 'full_page_writes', 'synchronous_commit') and setting = 'off' order by name
