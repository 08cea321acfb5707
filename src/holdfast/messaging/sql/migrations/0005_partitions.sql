-- How many partitions every topic had when this database was first used: a saga's timers are fired by whoever
-- owns its partition, and a saga's messages keep their order, only as long as that number stays what it is.
create table partitioning (
    only_row boolean primary key default true check (only_row),
    partitions integer not null check (partitions > 0)
);

-- Which topic each partition was when it was last looked at: one that was deleted and made anew has another id,
-- and what is committed of it counts for the old one.
create table topic_ids (
    topic text not null,
    partition integer not null,
    topic_id text not null,
    primary key (topic, partition)
);
