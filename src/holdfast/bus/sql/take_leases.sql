-- Compare and swap. A row that somebody else is changing now is left to him: nobody who takes ever waits. A lease
-- that ends further ahead than it is long is from before the clock jumped back: its owner has died.
with free as (
    select l.topic, l.partition
    from leases as l
    join unnest(%(topics)b::text[], %(partitions)b::int4[], %(epochs)b::int8[])
        as seen (topic, partition, epoch)
        on seen.topic = l.topic and seen.partition = l.partition
    where l.group_name = %(group)b::text
        and l.epoch = seen.epoch
        and (
            l.owner is null
            or l.owner = %(me)b::text
            or l.expires_at <= now()
            or l.expires_at > now() + 2 * %(lease_s)b::float8 * interval '1 second'
        )
    for update of l skip locked
)
update leases as l
set owner = %(me)b::text, epoch = l.epoch + 1, expires_at = now() + %(lease_s)b::float8 * interval '1 second'
from free as f
where l.group_name = %(group)b::text and l.topic = f.topic and l.partition = f.partition
returning l.topic, l.partition, l.epoch, l.committed
