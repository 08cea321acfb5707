-- Returns all topics with their partition counts.
select topic, partitions
from topics
