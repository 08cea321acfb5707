-- Give each lane's lines their offsets and append them. The rows of `partitions` are locked in one order by
-- everybody, and held until the commit. A lane that does not exist violates base_offset's not null.
with wanted as (
    select *
    from unnest(%(topics)b::text[], %(partitions)b::int4[], %(counts)b::int8[], %(lines)b::bytea[])
        as w (topic, partition, messages, lines)
),
locked as (
    select p.topic, p.partition
    from partitions as p
    join wanted as w on w.topic = p.topic and w.partition = p.partition
    order by p.topic, p.partition
    for update of p
),
moved as (
    update partitions as p
    set next_offset = p.next_offset + w.messages
    from locked as l
    join wanted as w on w.topic = l.topic and w.partition = l.partition
    where p.topic = l.topic and p.partition = l.partition
    returning p.topic, p.partition, p.next_offset - w.messages as base_offset
),
appended as (
    insert into log (topic, partition, base_offset, end_offset, lines)
    select w.topic, w.partition, m.base_offset, m.base_offset + w.messages, w.lines
    from wanted as w
    left join moved as m on m.topic = w.topic and m.partition = w.partition
)
select pg_notify(topic, 'news')
from unnest(%(notify)b::text[]) as n (topic)
