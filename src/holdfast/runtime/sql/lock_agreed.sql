-- Locks the number of partitions until the transaction ends, and returns it.
select partitions from partitioning for update
