-- Returns up to which key the rows of each table may be pruned.
select name, before_id from pruned
