-- Creates the missing partitions of these topics.
insert into partitions (topic, partition)
select topics.topic, partition
from topics
cross join lateral generate_series(0, topics.partitions - 1) as partition
where topics.topic = any(%(topics)b::text[])
on conflict do nothing
