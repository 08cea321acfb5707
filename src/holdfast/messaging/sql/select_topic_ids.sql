-- Returns the id that each partition's topic had when it was last looked at.
select topic, partition, topic_id from topic_ids
