-- Returns how many timers of each kind are due by the database's clock.
select kind, count(*)
from timers
where due_ms <= (extract(epoch from now()) * 1000)::bigint
group by kind
order by kind
