-- Returns for each state the open and the stalled sagas of these partitions, and the oldest start.
select state, count(*), count(*) filter (where stalled_ms > 0), min(started_ms)
from saga
where saga_id = any(array(
    select saga_id from timers where kind = 'deadline' and partition = any(%(partitions)b::integer[])
))
group by state
order by state
