insert into partitioning (partitions)
values (%(partitions)s)
on conflict (only_row) do update set partitions = partitioning.partitions
returning partitions
