-- Takes or renews a lease, returns true if it did. A lease that ends too far ahead is free: the clock has jumped back.
insert into leases (name, owner, expires_at)
values (%(name)s, %(owner)s, now() + %(ttl_ms)s * interval '1 millisecond')
on conflict (name) do update
set owner = excluded.owner, expires_at = excluded.expires_at
where
    leases.owner = excluded.owner
    or leases.expires_at <= now()
    or leases.expires_at > now() + 2 * %(ttl_ms)s * interval '1 millisecond'
returning true
