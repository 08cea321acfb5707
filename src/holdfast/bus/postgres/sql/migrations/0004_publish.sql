-- Give each lane's lines their offsets and append them. The rows of `partitions` are locked in one order by
-- everybody, and held until the commit. A lane that does not exist violates base_offset's not null. Each row says
-- whose it is: the service that the session's role stands for, whatever the messages say of themselves.
create function publish_batch(
    p_topics text[],
    p_partitions int4[],
    p_counts int8[],
    p_lines bytea[],
    p_notify text[]
) returns void
language plpgsql
security definer
set search_path from current
as $$
#variable_conflict use_column
declare
    refused text;
begin
    select t.topic into refused
    from unnest(p_topics) as t (topic)
    where not exists (select from writers as w where w.role = session_user::text and w.topic = t.topic)
    limit 1;
    if found then
        raise insufficient_privilege using message = format('role %s may not write %s', session_user, refused);
    end if;
    -- A publisher that was taken over must not spend the offsets, nor write what no reader has room for.
    if exists (
        select from unnest(p_counts, p_lines) as w (messages, lines)
        where messages is null or lines is null
            or messages not between 1 and 1000 or octet_length(lines) > 16000000
    ) then
        raise invalid_parameter_value using message = 'a row has 1 to 1000 messages in at most 16 MB';
    end if;
    with wanted as (
        select w.topic, w.partition, w.messages, w.lines, writers.source
        from unnest(p_topics, p_partitions, p_counts, p_lines) as w (topic, partition, messages, lines)
        join writers on writers.role = session_user::text and writers.topic = w.topic
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
    )
    insert into log (topic, partition, base_offset, end_offset, lines, source)
    select w.topic, w.partition, m.base_offset, m.base_offset + w.messages, w.lines, w.source
    from wanted as w
    left join moved as m on m.topic = w.topic and m.partition = w.partition;
    perform pg_notify(topic, 'news')
    from unnest(p_notify) as n (topic);
end
$$;
