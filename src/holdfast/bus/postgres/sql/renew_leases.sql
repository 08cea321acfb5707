-- Extends this member and its leases, returns the group's living members and leases.
select * from renew_leases(%(group)b::text, %(me)b::text, %(topics)b::text[], %(lease_s)b::float8)
