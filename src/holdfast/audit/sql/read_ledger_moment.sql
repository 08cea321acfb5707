-- The first read of a transaction fixes what all of it sees.
select 1 from entries limit 1
