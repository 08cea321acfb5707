select * from renew_leases(%(group)b::text, %(me)b::text, %(topics)b::text[], %(lease_s)b::float8)
