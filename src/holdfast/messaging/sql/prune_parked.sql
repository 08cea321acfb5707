-- Deletes parked records that an operator decided on long ago. Records without a decision stay for ever.
delete from parked
where (topic, partition, position) in (
    select topic, partition, position
    from parked
    where status <> 'parked' and last_at <= to_timestamp(%(unchanged_since_ms)s::bigint / 1000.0)
    order by topic, partition, position
    limit %(limit)s
    for update skip locked
)
