-- One row per saga, small and without an index on what every step changes, so that updates stay HOT.
-- NEW exists only inside a transaction: it is how a key that may not exist yet gets locked.
create table saga (
    saga_id uuid primary key,
    definition text not null default '',
    definition_version integer not null default 0,
    state text not null default 'NEW',
    version bigint not null default 0,
    failed text not null default '',
    owed text not null default '',
    results bytea not null default '\x90',
    reason text not null default '',
    detail text not null default '',
    started_ms bigint not null default 0,
    ended_ms bigint not null default 0,
    stalled_ms bigint not null default 0
) with (fillfactor = 50);

-- Append only; also the orchestrator's inbox (processed_event_ids). The first row of a saga holds its data.
create table saga_event (
    saga_id uuid not null,
    seq bigint not null,
    event_id text not null,
    kind text not null,
    payload bytea not null,
    path text not null,
    at_ms bigint not null,
    primary key (saga_id, seq),
    unique (saga_id, event_id)
);

create table saga_ignored (
    saga_id uuid not null,
    event_id text not null,
    kind text not null,
    reason text not null,
    times bigint not null,
    first_at timestamptz not null default now(),
    last_at timestamptz not null default now(),
    primary key (saga_id, event_id)
);

-- Raises a failed serialization unless as many rows were found as were wanted: then another transaction changed some.
create function require_rows(rows_found bigint, rows_wanted bigint) returns void
language plpgsql
as $$
begin
    if rows_found <> rows_wanted then
        raise serialization_failure using message = format('%s of %s rows were found', rows_found, rows_wanted);
    end if;
end
$$;
