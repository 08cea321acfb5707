-- Returns the id that each of these topics had when a partition was last looked at.
select topic, partition, topic_id from topic_ids where topic = any(%(topics)b::text[])
