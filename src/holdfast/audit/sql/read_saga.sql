-- Returns all sagas with their checkout, the payload of the first event. A saga that was cancelled before its
-- checkout arrived has none. JSON may contain the character NUL, which PostgreSQL's text cannot hold.
select
    s.saga_id, s.state, s.version, false, e.kind,
    d.cart ->> 'user_id', (d.cart -> 'total_minor')::bigint, d.cart ->> 'currency',
    l.skus, l.quantities, l.prices
from saga s
left join saga_event e on e.saga_id = s.saga_id and e.seq = 1
cross join lateral (
    select case when e.kind = 'CheckoutInitiated' then convert_from(e.payload, 'UTF8') end as text
) p
cross join lateral (
    select
        case
            when strpos(p.text, '\u0000') = 0 then p.text
            else regexp_replace(p.text, '(?<!\\)((?:\\\\)*)\\u0000', '\1?', 'g')
        end::jsonb as cart
) d
cross join lateral (
    select
        array_agg(u.sku) as skus,
        array_agg(u.quantity::bigint) as quantities,
        array_agg(u.unit_price_minor::bigint) as prices
    from jsonb_to_recordset(d.cart -> 'lines') as u (sku text, quantity numeric, unit_price_minor numeric)
) l
