-- Which login role may do what, filled by the bus's owner; the functions below look themselves up by session_user,
-- which neither they nor `set role` change. A role that has no row here, superusers included, may do nothing.
create table writers (
    role text not null,
    topic text not null references topics,
    source text not null,
    primary key (role, topic)
);

create table readers (
    role text not null,
    topic text not null references topics,
    group_name text not null,
    primary key (role, topic, group_name)
);

-- Raises where the session's role may not read these topics in this group; with no topic: is not in the group. For
-- the functions below alone, whose search_path it has: to pin it once more costs every call.
create function check_reader(p_group text, p_topics text[]) returns void
language plpgsql
as $$
#variable_conflict use_column
declare
    refused text;
begin
    if cardinality(p_topics) = 0 then
        if not exists (select from readers where role = session_user::text and group_name = p_group) then
            raise insufficient_privilege using message = format('role %s is not in group %s', session_user, p_group);
        end if;
        return;
    end if;
    select t.topic into refused
    from unnest(p_topics) as t (topic)
    where not exists (
        select from readers as r
        where r.role = session_user::text and r.topic = t.topic and r.group_name = p_group
    )
    limit 1;
    if found then
        raise insufficient_privilege using
            message = format('role %s may not read %s in group %s', session_user, refused, p_group);
    end if;
end
$$;

-- Let these roles, and nobody else, call the functions of this schema. The tables stay the owner's alone, but for
-- what says which topics there are.
create function admit_roles(p_roles text[]) returns void
language plpgsql
set search_path from current
as $$
declare
    client text;
begin
    execute format('revoke all on database %I from public', current_database());
    execute format('revoke all on all functions in schema %I from public', current_schema());
    foreach client in array p_roles loop
        execute format('grant connect on database %I to %I', current_database(), client);
        execute format('grant usage on schema %I to %I', current_schema(), client);
        execute format('grant select on topics, versions to %I', client);
        execute format(
            'grant execute on function publish_batch, fetch_log, find_end_offset, find_committed, join_group, '
            'renew_leases, take_leases, commit_offsets, restart_partition, release_leases, leave_group, prune_log to %I',
            client
        );
    end loop;
end
$$;
