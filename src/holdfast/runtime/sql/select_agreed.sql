-- Returns the number of partitions that this database was made for, and how many outbox rows are unpublished.
select partitions, (select count(*) from outbox) from partitioning
