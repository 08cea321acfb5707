-- Returns the number of open checkouts, up to the limit.
select count(*)
from (
    select 1
    from checkout
    where last_status not in ('COMPLETED', 'FAILED')
    limit %(limit)s
) as open_checkouts
