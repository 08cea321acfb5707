-- The kernel's tables, the same in every service's database.

-- One row per committed batch; deleted once published, hence not worth the time to compress.
create table outbox (
    id bigint generated always as identity primary key,
    at timestamptz not null default now(),
    count integer not null check (count > 0),
    batch bytea not null
);
alter table outbox alter column batch set storage external;

-- What could not be processed, with its original bytes, until an operator decides.
create table parked (
    topic text not null,
    partition integer not null,
    position bigint not null,
    status text not null default 'parked' check (status in ('parked', 'redriven', 'discarded')),
    reason text not null,
    detail text not null,
    message_id text,
    saga_id uuid,
    key bytea,
    value bytea,
    headers bytea not null,
    attempts integer not null default 1,
    first_at timestamptz not null default now(),
    last_at timestamptz not null default now(),
    primary key (topic, partition, position)
);

-- One row per (saga, step) at a participant, written in the business transaction. NEW exists only inside
-- a transaction: it is how a key that may not exist yet gets locked.
create table fence (
    saga_id uuid not null,
    step text not null,
    state text not null check (
        state in ('NEW', 'RUNNING', 'DONE', 'REFUSED', 'UNDOING', 'UNDONE', 'TOMBSTONE', 'CONFIRMED')
    ),
    reply_kind text not null default '',
    reply bytea not null default '',
    submitted_at timestamptz,
    undo_requested boolean not null default false,
    created_at timestamptz not null default now(),
    changed_at timestamptz not null default now(),
    primary key (saga_id, step)
) with (fillfactor = 70);

-- Everything that happens by time, by this database's clock. Small: only what is under way has a row, so
-- due rows are found by a scan and updates stay HOT.
create table timers (
    saga_id uuid not null,
    step text not null,
    verb text not null check (verb in ('do', 'undo')),
    kind text not null check (kind in ('deadline', 'resolve')),
    partition integer not null,
    since_ms bigint not null,
    due_ms bigint not null,
    fired integer not null default 0,
    outbox_id bigint not null default 0,
    end_offset bigint not null default 0,
    primary key (saga_id, step, verb)
) with (fillfactor = 50);

create table leases (
    name text primary key,
    owner text not null,
    expires_at timestamptz not null
);

-- How often consumption began at an offset without progress: finds the message that kills the process.
create table starts (
    place text primary key,
    position bigint not null,
    count integer not null
);
