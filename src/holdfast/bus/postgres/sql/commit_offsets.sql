-- Moves committed offsets forward, returns the partitions whose lease is still of this member and epoch.
select * from commit_offsets(
    %(group)b::text,
    %(me)b::text,
    %(lease_s)b::float8,
    %(topics)b::text[],
    %(partitions)b::int4[],
    %(epochs)b::int8[],
    %(offsets)b::int8[]
)
