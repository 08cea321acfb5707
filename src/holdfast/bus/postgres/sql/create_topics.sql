-- Creates these topics if they are missing.
insert into topics (topic, partitions)
select topic, %(partitions)b::int4
from unnest(%(topics)b::text[]) as t (topic)
on conflict do nothing
