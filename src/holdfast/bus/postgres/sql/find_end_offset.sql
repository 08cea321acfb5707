select * from find_end_offset(%(topic)b::text, %(partition)b::int4)
