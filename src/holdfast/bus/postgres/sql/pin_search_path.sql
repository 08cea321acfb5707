-- Make this transaction's functions see the schema at hand and nothing before it, temporary tables included.
select set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true)
