-- Gives these topics so many partitions, if they have fewer.
update topics
set partitions = %(partitions)b::int4
where topic = any(%(topics)b::text[]) and partitions < %(partitions)b::int4
