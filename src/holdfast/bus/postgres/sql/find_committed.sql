select * from find_committed(%(group)b::text, %(topic)b::text, %(partition)b::int4)
