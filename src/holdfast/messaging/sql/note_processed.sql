-- Notes the redriven records at these positions as processed.
update parked
set outcome = 'processed'
from unnest(
    %(topics)b::text[], %(partitions)b::integer[], %(positions)b::bigint[]
) as u (topic, partition, position)
where
    parked.topic = u.topic
    and parked.partition = u.partition
    and parked.position = u.position
    and parked.topic = any(%(topics)b::text[])
    and parked.partition = any(%(partitions)b::integer[])
    and parked.position = any(%(positions)b::bigint[])
    and parked.status = 'redriven'
