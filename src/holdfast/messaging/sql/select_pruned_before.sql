-- Returns the key below which rows of this table may be gone.
select before_id::text from pruned where name = %(name)s
