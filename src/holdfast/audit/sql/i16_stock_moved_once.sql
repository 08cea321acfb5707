-- Returns stock movements that a saga made more than once.
select saga_id::text, format('%s of %s was made %s times', direction, sku, count(*))
from stock_movement_line
group by saga_id, sku, direction
having count(*) > 1
