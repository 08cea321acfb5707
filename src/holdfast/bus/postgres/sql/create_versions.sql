-- Creates the table of applied migrations if it is missing.
create table if not exists versions (
    version int4 primary key,
    name text not null,
    checksum text not null,
    applied_at timestamptz not null default now()
)
