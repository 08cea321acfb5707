-- A row for each partition whose epoch is still the committer's; an offset that is not higher changes nothing.
update leases as l
set committed = greatest(l.committed, p.upto), expires_at = now() + %(lease_s)b::float8 * interval '1 second'
from unnest(%(topics)b::text[], %(partitions)b::int4[], %(epochs)b::int8[], %(offsets)b::int8[])
    as p (topic, partition, epoch, upto)
where l.group_name = %(group)b::text
    and l.topic = p.topic
    and l.partition = p.partition
    and l.owner = %(me)b::text
    and l.epoch = p.epoch
returning l.topic, l.partition
