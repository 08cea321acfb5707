update leases as l
set owner = null
from unnest(%(topics)b::text[], %(partitions)b::int4[]) as p (topic, partition)
where l.group_name = %(group)b::text
    and l.topic = p.topic
    and l.partition = p.partition
    and l.owner = %(me)b::text
