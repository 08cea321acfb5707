-- Returns the group's committed offset of one partition.
select * from find_committed(%(group)b::text, %(topic)b::text, %(partition)b::int4)
