-- Appends batches to the log and wakes the consumers of the topics in `notify`.
select publish_batch(
    %(topics)b::text[],
    %(partitions)b::int4[],
    %(counts)b::int8[],
    %(lines)b::bytea[],
    %(notify)b::text[]
)
