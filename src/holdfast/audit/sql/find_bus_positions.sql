-- Returns each group's committed offset and end on each partition; 0 committed if the group never joined.
select r.group_name, p.topic, p.partition, coalesce(l.committed, 0), p.next_offset
from unnest(%(groups)b::text[], %(topics)b::text[]) as r (group_name, topic)
join partitions p on p.topic = r.topic
left join leases l on l.group_name = r.group_name and l.topic = p.topic and l.partition = p.partition
