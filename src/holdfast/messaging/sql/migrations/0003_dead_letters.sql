-- What became of a parked message that an operator redrove, so that the same failure is seen to come back;
-- and which service had published it, as the bus proved when it was parked: it is checked once more then.
alter table parked add column outcome text check (outcome in ('processed', 'parked_again'));
alter table parked add column source text;

-- The writer looks again and again for what is redriven and not processed yet; nearly never is there any.
create index parked_redriven on parked (topic, partition, position)
where status = 'redriven' and outcome is null;
