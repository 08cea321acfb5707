-- Returns the offset that the next message of this partition will get.
select * from find_end_offset(%(topic)b::text, %(partition)b::int4)
