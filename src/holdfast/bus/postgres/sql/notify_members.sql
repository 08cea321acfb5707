-- Wakes the consumers of these topics: the members of a group have changed.
select pg_notify(topic, 'members')
from unnest(%(topics)b::text[]) as t (topic)
