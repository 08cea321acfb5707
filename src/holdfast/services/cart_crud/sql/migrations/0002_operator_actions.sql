-- Append only: who did what to which cart or price list, and why.
create table operator_action (
    id bigint generated always as identity primary key,
    at timestamptz not null default now(),
    operator text not null,
    action text not null check (action in ('hold', 'release', 'set_prices')),
    subject text not null,
    reason text not null
);
