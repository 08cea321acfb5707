-- Up to which key rows of ended sagas may be gone, by table: what is not found below it proves nothing.
create table pruned (
    name text primary key,
    before_id uuid not null,
    rows bigint not null,
    at timestamptz not null default now()
);

-- Tables whose rows come and go all the time are vacuumed by the number of dead rows, however large they are;
-- those that are pruned, before a fifth of them is dead.
alter table outbox set (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);
alter table timers set (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);
alter table fence set (autovacuum_vacuum_scale_factor = 0.05);
