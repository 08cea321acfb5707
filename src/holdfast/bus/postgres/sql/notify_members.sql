select pg_notify(topic, 'members')
from unnest(%(topics)b::text[]) as t (topic)
