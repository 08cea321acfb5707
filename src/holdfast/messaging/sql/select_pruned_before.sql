select before_id::text from pruned where name = %(name)s
