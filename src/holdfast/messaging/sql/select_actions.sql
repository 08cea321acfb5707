-- Returns what operators did to one target, oldest first.
select (extract(epoch from at) * 1000)::bigint, operator, action, reason
from operator_actions
where target = %(target)s
order by id
