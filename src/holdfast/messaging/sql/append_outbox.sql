insert into outbox (count, batch) values (%(count)s, %(batch)b) returning id
