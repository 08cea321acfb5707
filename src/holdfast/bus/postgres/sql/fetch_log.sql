-- Returns the next batches of each partition from its position on, bounded by messages and bytes, and its log's end.
select * from fetch_log(
    %(group)b::text,
    %(topics)b::text[],
    %(partitions)b::int4[],
    %(positions)b::int8[],
    %(messages_more)b::int8,
    %(bytes_max)b::int8
)
