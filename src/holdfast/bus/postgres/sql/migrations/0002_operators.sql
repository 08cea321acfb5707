-- What people did to the bus by hand, and why: written in the transaction that did it, never changed.
create table operator_actions (
    id bigint generated always as identity primary key,
    at timestamptz not null default now(),
    operator text not null,
    action text not null,
    target text not null,
    reason text not null
);
