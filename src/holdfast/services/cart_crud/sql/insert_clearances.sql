-- Appends what each saga removed from its cart.
insert into clear_log (saga_id, cart_id, user_id, version_left, skus, quantities_before, quantities_removed)
select
    u.saga_id::uuid, u.cart_id, u.user_id, u.version,
    coalesce(l.skus, '{}'), coalesce(l.before, '{}'), coalesce(l.removed, '{}')
from unnest(%(saga_ids)b::text[], %(cart_ids)b::text[], %(user_ids)b::text[], %(versions)b::bigint[])
    as u (saga_id, cart_id, user_id, version)
left join (
    select
        saga_id,
        array_agg(sku order by n) as skus,
        array_agg(before order by n) as before,
        array_agg(removed order by n) as removed
    from unnest(%(line_sagas)b::text[], %(skus)b::text[], %(before)b::bigint[], %(removed)b::bigint[])
        with ordinality as x (saga_id, sku, before, removed, n)
    group by saga_id
) l using (saga_id)
