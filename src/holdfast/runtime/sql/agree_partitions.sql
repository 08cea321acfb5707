-- Stores the number of partitions if none is stored; returns the stored one.
insert into partitioning (partitions)
values (%(partitions)s)
on conflict (only_row) do update set partitions = partitioning.partitions
returning partitions
