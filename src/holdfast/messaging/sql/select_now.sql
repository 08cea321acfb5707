-- Returns the transaction's start by this database's clock, in Unix milliseconds.
select (extract(epoch from now()) * 1000)::bigint
