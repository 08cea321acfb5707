-- Drops a database, if it exists, and ends the sessions in it.
drop database if exists {name} with (force)
