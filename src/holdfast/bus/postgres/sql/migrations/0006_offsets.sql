create function find_end_offset(p_topic text, p_partition int4)
returns table (next_offset int8)
language plpgsql
security definer
set search_path from current
as $$
#variable_conflict use_column
begin
    return query
    select next_offset
    from partitions
    where topic = p_topic and partition = p_partition;
end
$$;

create function find_committed(p_group text, p_topic text, p_partition int4)
returns table (committed int8)
language plpgsql
security definer
set search_path from current
as $$
#variable_conflict use_column
begin
    perform check_reader(p_group, array[p_topic]);
    return query
    select committed
    from leases
    where group_name = p_group and topic = p_topic and partition = p_partition;
end
$$;

-- Begin a partition of a topic that was made anew: true if the lease is still this member's.
create function restart_partition(p_group text, p_me text, p_topic text, p_partition int4, p_epoch int8)
returns boolean
language plpgsql
security definer
set search_path from current
as $$
begin
    perform check_reader(p_group, array[p_topic]);
    update leases
    set committed = 0
    where group_name = p_group and topic = p_topic and partition = p_partition and owner = p_me and epoch = p_epoch;
    return found;
end
$$;

-- A row for each partition whose epoch is still the committer's; an offset that is not higher changes nothing.
-- The commit does not wait for the disk: an offset that a crash loses brings messages again, which every reader
-- knows. Pruning does wait, and by then the offsets that it went by are on disk, too: they lie before it in the WAL.
create function commit_offsets(
    p_group text,
    p_me text,
    p_lease_s float8,
    p_topics text[],
    p_partitions int4[],
    p_epochs int8[],
    p_offsets int8[]
)
returns table (topic text, partition int4)
language plpgsql
security definer
set search_path from current
as $$
#variable_conflict use_column
begin
    perform check_reader(p_group, p_topics);
    perform set_config('synchronous_commit', 'off', true);
    return query
    update leases as l
    set committed = greatest(l.committed, p.upto), expires_at = now() + p_lease_s * interval '1 second'
    from unnest(p_topics, p_partitions, p_epochs, p_offsets)
        as p (topic, partition, epoch, upto)
    where l.group_name = p_group
        and l.topic = p.topic
        and l.partition = p.partition
        and l.owner = p_me
        and l.epoch = p.epoch
    returning l.topic, l.partition;
end
$$;
