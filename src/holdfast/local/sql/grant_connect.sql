-- Lets a reader connect to a database and make temporary tables there.
grant connect, temporary on database {name} to {reader}
