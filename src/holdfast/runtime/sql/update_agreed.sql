-- Writes the number of partitions that this database is held to from now on.
update partitioning set partitions = %(partitions)s
