-- Appends one batch to the outbox and returns its row id.
insert into outbox (count, batch) values (%(count)s, %(batch)b) returning id
