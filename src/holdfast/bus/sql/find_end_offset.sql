select next_offset
from partitions
where topic = %(topic)b::text and partition = %(partition)b::int4
