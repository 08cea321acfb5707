-- Creates the ledger: tables of money that never change, and working tables.
-- The money: an object's facts, and one row for each status it took. Nothing here ever changes.
create table entries (
  seq integer primary key,
  ref text not null,
  turn integer not null,
  kind text not null check (kind in ('intent', 'charge', 'refund')),
  status text not null,
  amount integer not null check (typeof(amount) = 'integer' and amount > 0),
  currency text not null check (length(currency) = 3),
  intent text not null,
  saga_id text,
  idem_key text,
  at_ms integer not null,
  object text not null,
  unique (ref, turn)
);

create index entries_by_saga on entries (saga_id) where kind = 'intent' and turn = 1;

create index entries_by_intent on entries (intent, kind) where turn = 1;

create index entries_by_kind on entries (kind, seq) where turn = 1;

create view latest as
select * from entries e where turn = (select max(turn) from entries where ref = e.ref);

-- What an auditor reads, in minor units: every charge and refund ever tried, as it stands.
create view prov as
select ref, idem_key, saga_id, kind, amount, upper(currency) as ccy,
  case when status = 'succeeded' then 'ok' when status = 'failed' and kind = 'charge' then 'declined' else status
  end as status
from latest where kind <> 'intent';

create trigger entries_never_change before update on entries
begin
  select raise(abort, 'money rows are append-only');
end;

create trigger entries_never_vanish before delete on entries
begin
  select raise(abort, 'money rows are append-only');
end;

-- Also refuses "insert or replace", which deletes without asking the trigger above.
create trigger entries_follow_one_another before insert on entries
when new.turn <> 1 + coalesce((select max(turn) from entries where ref = new.ref), 0)
  or exists (select 1 from entries where seq = new.seq)
begin
  select raise(abort, 'turns follow one another');
end;

create trigger entries_keep_their_facts before insert on entries
when new.turn > 1 and not exists (
  select 1 from entries where ref = new.ref and turn = 1 and kind = new.kind and amount = new.amount
  and currency = new.currency and intent = new.intent and saga_id is new.saga_id and idem_key is new.idem_key)
begin
  select raise(abort, 'facts never change');
end;

create trigger refunds_never_exceed_charge before insert on entries
when new.kind = 'refund' and new.turn = 1 and (
  select coalesce(sum(case kind when 'charge' then amount else -amount end), 0)
  from entries e where intent = new.intent and turn = 1 and (
    select case e.kind when 'charge' then status = 'succeeded' when 'refund' then status <> 'failed' end
    from entries where ref = e.ref order by turn desc limit 1)
) < new.amount
begin
  select raise(abort, 'refund above charge');
end;

-- Working tables, not money: answers kept for repeats, objects with an end to come, events to send.
create table idempotency_keys (
  seq integer primary key,
  key text not null unique,
  fingerprint text not null,
  status integer not null,
  body text not null,
  created_ms integer not null
);

create table due (ref text primary key, due_ms integer not null, ends text not null) without rowid;

create table events (
  seq integer primary key,
  subject text not null,
  payment_method text not null,
  script text not null,
  body blob not null,
  attempts integer not null default 0,
  due_ms integer not null,
  created_ms integer not null
);

create index events_by_due on events (due_ms);

pragma user_version = 1;
