-- Returns completed sagas without exactly one placed order, and failed or unknown ones with a placed or pending one.
with standing as (
    select
        saga_id,
        count(*) as orders,
        string_agg(status, ', ' order by status) as statuses,
        bool_or(status = 'PENDING') as pending
    from orders
    where status in ('PLACED', 'PENDING')
    group by saga_id
)
select
    s.saga_id::text,
    format('%s, with %s standing orders%s', s.state, coalesce(o.orders, 0), coalesce(': ' || o.statuses, ''))
from saga s
left join standing o using (saga_id)
where s.state in ('COMPLETED', 'FAILED')
    and (coalesce(o.orders, 0) <> (s.state = 'COMPLETED')::integer or coalesce(o.pending, false))
union all
select o.saga_id::text, format('an order is %s for a saga that does not exist', o.statuses)
from standing o
left join saga s using (saga_id)
where s.saga_id is null
