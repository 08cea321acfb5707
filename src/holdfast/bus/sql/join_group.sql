insert into leases (group_name, topic, partition)
select %(group)b::text, p.topic, p.partition
from partitions as p
where p.topic = any(%(topics)b::text[])
order by p.topic, p.partition
on conflict do nothing
