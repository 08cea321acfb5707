-- Returns the positions of redriven records without a known outcome.
select topic, partition, position
from parked
where status = 'redriven' and outcome is null
order by topic, partition, position
limit %(limit)s
