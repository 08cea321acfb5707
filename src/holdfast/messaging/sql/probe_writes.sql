-- Returns the tables that this role may not write, if any; fails if the server is read-only or its disk is full.
-- No row is written, so there is nothing in the WAL: the insert of no row asks whether writes are allowed, and
-- the series is larger than its memory, so it needs room for a temporary file.
with written as (
    insert into outbox (count, batch) select 1, ''::bytea where false
),
spilled as (
    select count(*) as rows from generate_series(1, 10000)
)
select string_agg(c.relname, ', ' order by c.relname)
from spilled
left join pg_class as c
    on c.relnamespace = current_schema()::regnamespace
    and c.relkind = 'r'
    and not (has_table_privilege(c.oid, 'INSERT') and has_table_privilege(c.oid, 'UPDATE'))
