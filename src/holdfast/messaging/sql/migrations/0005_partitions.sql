-- How many partitions every topic had when this database was first used: a saga's timers are fired by whoever
-- owns its partition, and a saga's messages keep their order, only as long as that number stays what it is.
create table partitioning (
    only_row boolean primary key default true check (only_row),
    partitions integer not null check (partitions > 0)
);
