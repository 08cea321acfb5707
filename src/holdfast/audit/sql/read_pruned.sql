select name, before_id from pruned
