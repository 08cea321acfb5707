-- Takes leases that are free and still of the epoch seen, and returns those taken.
select * from take_leases(
    %(group)b::text,
    %(me)b::text,
    %(lease_s)b::float8,
    %(topics)b::text[],
    %(partitions)b::int4[],
    %(epochs)b::int8[]
)
