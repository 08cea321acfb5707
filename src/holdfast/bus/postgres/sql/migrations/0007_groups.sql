create function join_group(p_group text, p_topics text[])
returns void
language plpgsql
security definer
set search_path from current
as $$
#variable_conflict use_column
begin
    perform check_reader(p_group, p_topics);
    insert into leases (group_name, topic, partition)
    select p_group, p.topic, p.partition
    from partitions as p
    where p.topic = any(p_topics)
    order by p.topic, p.partition
    on conflict do nothing;
end
$$;

-- Live a lease time longer, and look at the group: its other living members ... A lease that ends
-- further ahead than it is long is from before the clock jumped back: the living have renewed theirs, or soon will.
create function renew_leases(p_group text, p_me text, p_topics text[], p_lease_s float8)
returns table (
    kind text, member text, topics text[], topic text, partition int4, owner text, epoch int8, committed int8
)
language plpgsql
security definer
set search_path from current
as $$
#variable_conflict use_column
begin
    perform check_reader(p_group, p_topics);
    return query
    with me as (
        insert into members (group_name, member, topics, expires_at)
        values (
            p_group, p_me, p_topics, now() + p_lease_s * interval '1 second'
        )
        on conflict (group_name, member) do update
        set topics = excluded.topics, expires_at = excluded.expires_at
    ),
    renewed as (
        update leases
        set expires_at = now() + p_lease_s * interval '1 second'
        where group_name = p_group and owner = p_me
        returning topic, partition
    )
    select 'member', member, topics, null::text, null::int4, null::text, null::int8, null::int8
    from members
    where group_name = p_group
        and expires_at > now()
        and expires_at <= now() + 2 * p_lease_s * interval '1 second'
    union all
    -- ... and its leases; an owner only where it still has the right.
    select
        'lease', null, null, l.topic, l.partition,
        case
            when r.topic is not null then p_me
            when l.expires_at > now()
                and l.expires_at <= now() + 2 * p_lease_s * interval '1 second'
                and l.owner <> p_me then l.owner
        end,
        l.epoch, l.committed
    from leases as l
    left join renewed as r on r.topic = l.topic and r.partition = l.partition
    where l.group_name = p_group and l.topic = any(p_topics);
end
$$;

-- Compare and swap. A row that somebody else is changing now is left to him: nobody who takes ever waits. A lease
-- that ends further ahead than it is long is from before the clock jumped back: its owner has died.
create function take_leases(
    p_group text,
    p_me text,
    p_lease_s float8,
    p_topics text[],
    p_partitions int4[],
    p_epochs int8[]
)
returns table (topic text, partition int4, epoch int8, committed int8)
language plpgsql
security definer
set search_path from current
as $$
#variable_conflict use_column
begin
    perform check_reader(p_group, p_topics);
    return query
    with free as (
        select l.topic, l.partition
        from leases as l
        join unnest(p_topics, p_partitions, p_epochs)
            as seen (topic, partition, epoch)
            on seen.topic = l.topic and seen.partition = l.partition
        where l.group_name = p_group
            and l.epoch = seen.epoch
            and (
                l.owner is null
                or l.owner = p_me
                or l.expires_at <= now()
                or l.expires_at > now() + 2 * p_lease_s * interval '1 second'
            )
        for update of l skip locked
    )
    update leases as l
    set owner = p_me, epoch = l.epoch + 1, expires_at = now() + p_lease_s * interval '1 second'
    from free as f
    where l.group_name = p_group and l.topic = f.topic and l.partition = f.partition
    returning l.topic, l.partition, l.epoch, l.committed;
end
$$;

create function release_leases(p_group text, p_me text, p_topics text[], p_partitions int4[])
returns void
language plpgsql
security definer
set search_path from current
as $$
#variable_conflict use_column
begin
    perform check_reader(p_group, p_topics);
    update leases as l
    set owner = null
    from unnest(p_topics, p_partitions) as p (topic, partition)
    where l.group_name = p_group
        and l.topic = p.topic
        and l.partition = p.partition
        and l.owner = p_me;
end
$$;

create function leave_group(p_group text, p_me text)
returns void
language plpgsql
security definer
set search_path from current
as $$
#variable_conflict use_column
begin
    perform check_reader(p_group, '{}');
    with gone as (
        delete from members
        where group_name = p_group and member = p_me
    )
    update leases
    set owner = null
    where group_name = p_group and owner = p_me;
end
$$;
