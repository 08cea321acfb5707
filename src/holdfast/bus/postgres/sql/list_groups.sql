-- Returns every group: living members, unread messages, unread ones past retention, seconds since its last member.
select
    l.group_name,
    coalesce(m.members, 0),
    sum(p.next_offset - l.committed)::int8,
    sum(coalesce(h.held, 0))::int8,
    extract(epoch from now() - greatest(max(nullif(l.expires_at, '-infinity')), m.expires_at))::float8
from leases as l
join partitions as p on p.topic = l.topic and p.partition = l.partition
left join (
    select group_name, count(*) filter (where expires_at > now()) as members, max(expires_at) as expires_at
    from members
    group by group_name
) as m on m.group_name = l.group_name
cross join lateral (
    select sum(log.end_offset - log.base_offset) as held
    from log
    where log.topic = l.topic
        and log.partition = l.partition
        and log.end_offset > l.committed
        and log.published_at <= now() - %(retention_s)b::float8 * interval '1 second'
) as h
group by l.group_name, m.members, m.expires_at
order by l.group_name
