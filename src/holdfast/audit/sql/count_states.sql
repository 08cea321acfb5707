-- Returns how many sagas are in each state.
select state, count(*) from saga group by state order by state
