select committed
from leases
where group_name = %(group)b::text and topic = %(topic)b::text and partition = %(partition)b::int4
