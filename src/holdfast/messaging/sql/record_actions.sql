-- Appends to the log of operators' actions.
insert into operator_actions (operator, action, target, reason)
select operator, action, target, reason
from unnest(
    %(operators)b::text[], %(actions)b::text[], %(targets)b::text[], %(reasons)b::text[]
) as u (operator, action, target, reason)
