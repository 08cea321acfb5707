select state, count(*) from saga group by state order by state
