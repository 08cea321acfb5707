-- Creates the group's missing leases, one per partition of these topics.
select join_group(%(group)b::text, %(topics)b::text[])
