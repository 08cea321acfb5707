-- Reads one row, only because the first read of a transaction fixes what the whole transaction sees.
select 1 from entries limit 1
