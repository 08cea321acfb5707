-- Inserts rights to write: which role may write to which topic, and as which source.
insert into writers (role, source, topic)
select role, source, topic
from unnest(%(principals)b::text[], %(services)b::text[], %(topics)b::text[]) as t (role, source, topic)
