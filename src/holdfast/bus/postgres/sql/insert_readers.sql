-- Inserts rights to read: which role may read which topic in which group.
insert into readers (role, group_name, topic)
select role, group_name, topic
from unnest(%(principals)b::text[], %(services)b::text[], %(topics)b::text[]) as t (role, group_name, topic)
