"""The bus on PostgreSQL: a log in a database of its own. Start reading at `bus`."""
