-- Returns clears of another user's cart, and pieces that were not removed exactly as bought. A clear takes what
-- the snapshot held, as far as the cart still held it; later additions survive. A missing cart's log is empty.
with taken as (
    select l.* from clear_log_line l join saga using (saga_id)
),
bought as (
    select p.*
    from saga_piece p
    join clear_log c using (saga_id)
    where cardinality(c.skus) > 0
)
select
    saga_id::text,
    format('%s of %s were bought, the cart held %s, and %s were taken out',
        coalesce(w.qty, 0), sku, coalesce(t.qty_before, 0), coalesce(t.qty_removed, 0))
from bought w
full join taken t using (saga_id, sku)
where t.qty_removed is distinct from least(t.qty_before, coalesce(w.qty, 0))
    or t.saga_id is null
union all
select s.saga_id::text, format('a cart of %s was cleared for a checkout of %s', c.user_id, s.user_id)
from clear_log c
join saga s using (saga_id)
where c.user_id <> s.user_id
