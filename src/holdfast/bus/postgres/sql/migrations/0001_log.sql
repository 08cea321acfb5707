create table topics (
    topic text primary key,
    partitions int4 not null check (partitions > 0),
    id uuid not null default gen_random_uuid() -- a topic that is deleted and made anew has another
);

-- One row a lane of order. A publisher holds it until it commits, so that offset order is commit order.
-- Rewritten by every publish: room on each page keeps these rewrites out of the index.
create table partitions (
    topic text not null references topics,
    partition int4 not null,
    next_offset int8 not null default 0,
    primary key (topic, partition)
) with (fillfactor = 20);

-- One row a batch: the messages from base_offset up to, not including, end_offset; one JSON line each.
create table log (
    topic text not null,
    partition int4 not null,
    base_offset int8 not null,
    end_offset int8 not null check (end_offset > base_offset),
    published_at timestamptz not null default clock_timestamp(),
    lines bytea not null,
    source text not null, -- the service that `publish_batch` knows its session's role to be
    primary key (topic, partition, end_offset)
);

-- lz4 costs a third of what pglz does; not every server is built with it.
do $$
begin
    alter table log alter column lines set compression lz4;
exception when feature_not_supported then
    null;
end
$$;

create table members (
    group_name text not null,
    member text not null,
    topics text[] not null,
    expires_at timestamptz not null,
    primary key (group_name, member)
) with (fillfactor = 50);

create table leases (
    group_name text not null,
    topic text not null,
    partition int4 not null,
    owner text,
    epoch int8 not null default 0,
    expires_at timestamptz not null default '-infinity',
    committed int8 not null default 0,
    primary key (group_name, topic, partition)
) with (fillfactor = 20);

create table upkeep (
    only_row bool primary key default true check (only_row),
    pruned_at timestamptz not null default '-infinity'
);
insert into upkeep default values;

-- Single messages, for people: select * from messages where topic = '...' order by message_offset desc limit 10
create view messages as
select
    log.topic,
    log.partition,
    log.base_offset + line.number - 1 as message_offset,
    log.published_at,
    log.source,
    coalesce(fields ->> 'k', fields ->> 'k64') as key,
    coalesce(fields ->> 'v', fields ->> 'v64') as value,
    coalesce(fields -> 'h', fields -> 'h64') as headers,
    array(select jsonb_object_keys(fields)) && array['k64', 'v64', 'h64'] as has_base64
from log
cross join lateral string_to_table(rtrim(convert_from(log.lines, 'UTF8'), E'\n'), E'\n')
    with ordinality as line (text, number)
cross join lateral cast(line.text as jsonb) as fields;
