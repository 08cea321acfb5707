-- Makes the functions created in this transaction search the current schema first, even before temporary tables.
select set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true)
