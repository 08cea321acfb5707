-- Lets a reader read every table of every database.
grant pg_read_all_data to {reader}
