-- Writes the ids of these partitions' topics.
insert into topic_ids (topic, partition, topic_id)
select topic, partition, topic_id
from unnest(%(topics)b::text[], %(partitions)b::bigint[], %(ids)b::text[]) as t (topic, partition, topic_id)
on conflict (topic, partition) do update set topic_id = excluded.topic_id
