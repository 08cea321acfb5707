-- What became of a parked message that was sent once more, and where one was parked before: so that an
-- operator sees the same failure come back.
alter table parked add column outcome text check (outcome in ('processed', 'parked_again'));
alter table parked add column redriven_from text;
