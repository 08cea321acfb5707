-- Sets the committed offset of a partition back to 0, tells whether its lease is still of this member and epoch.
select restart_partition(
    %(group)b::text, %(me)b::text, %(topic)b::text, %(partition)b::int4, %(epoch)b::int8
)
