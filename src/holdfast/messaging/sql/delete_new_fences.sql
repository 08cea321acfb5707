delete from fence
where step = %(step)s and state = 'NEW' and saga_id = any(%(saga_ids)b::text[]::uuid[])
