-- Returns whether the table of applied migrations exists.
select to_regclass('versions') is not null
