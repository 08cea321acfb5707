-- Gives up this member's leases on these partitions.
select release_leases(%(group)b::text, %(me)b::text, %(topics)b::text[], %(partitions)b::int4[])
