-- Live a lease time longer, and look at the group: its other living members ... A lease that ends
-- further ahead than it is long is from before the clock jumped back: the living have renewed theirs, or soon will.
with me as (
    insert into members (group_name, member, topics, expires_at)
    values (
        %(group)b::text, %(me)b::text, %(topics)b::text[], now() + %(lease_s)b::float8 * interval '1 second'
    )
    on conflict (group_name, member) do update
    set topics = excluded.topics, expires_at = excluded.expires_at
),
renewed as (
    update leases
    set expires_at = now() + %(lease_s)b::float8 * interval '1 second'
    where group_name = %(group)b::text and owner = %(me)b::text
    returning topic, partition
)
select 'member', member, topics, null::text, null::int4, null::text, null::int8, null::int8
from members
where group_name = %(group)b::text
    and expires_at > now()
    and expires_at <= now() + 2 * %(lease_s)b::float8 * interval '1 second'
union all
-- ... and its leases; an owner only where it still has the right.
select
    'lease', null, null, l.topic, l.partition,
    case
        when r.topic is not null then %(me)b::text
        when l.expires_at > now()
            and l.expires_at <= now() + 2 * %(lease_s)b::float8 * interval '1 second'
            and l.owner <> %(me)b::text then l.owner
    end,
    l.epoch, l.committed
from leases as l
left join renewed as r on r.topic = l.topic and r.partition = l.partition
where l.group_name = %(group)b::text and l.topic = any(%(topics)b::text[])
