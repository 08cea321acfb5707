-- Returns all topics with their partition counts and ids.
select topic, partitions, id::text
from topics
