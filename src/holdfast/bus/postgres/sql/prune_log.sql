-- Deletes messages past their retention, returns the most rows that were deleted from one partition.
select * from prune_log(
    %(rest_s)b::float8,
    %(retention_s)b::float8,
    %(kept_topics)b::text[],
    %(kept_retention_s)b::float8,
    %(rows_max)b::int8
)
