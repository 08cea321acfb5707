-- Returns codes whose pieces on hand, reserved and sold do not add up to the initial ones, or for which the
-- reservations or the log of movements say otherwise.
with claimed as (
    select
        sku,
        coalesce(sum(qty) filter (where state = 'RESERVED'), 0) as reserved,
        coalesce(sum(qty) filter (where state = 'CONFIRMED'), 0) as sold
    from reservation
    group by sku
),
moved as (
    select
        sku,
        sum(case direction when 'reserve' then qty else -qty end) as reserved,
        coalesce(sum(qty) filter (where direction = 'sell'), 0) as sold
    from stock_movement_line
    group by sku
),
books as (
    select
        sku, k.initial, k.on_hand, coalesce(k.reserved, 0) as reserved, coalesce(k.sold, 0) as sold,
        coalesce(c.reserved, 0) as claimed_reserved, coalesce(c.sold, 0) as claimed_sold,
        coalesce(m.reserved, 0) as moved_reserved, coalesce(m.sold, 0) as moved_sold
    from stock k
    full join claimed c using (sku)
    full join moved m using (sku)
)
select
    sku,
    format('initial %s, on hand %s, reserved %s, sold %s; reservations: %s and %s; movements: %s and %s',
        coalesce(initial::text, 'unknown'), on_hand, reserved, sold, claimed_reserved, claimed_sold,
        moved_reserved, moved_sold)
from books
where on_hand + reserved + sold <> initial
    or (reserved, sold) <> (claimed_reserved, claimed_sold)
    or (reserved, sold) <> (moved_reserved, moved_sold)
