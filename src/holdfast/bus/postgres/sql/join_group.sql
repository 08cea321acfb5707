select join_group(%(group)b::text, %(topics)b::text[])
