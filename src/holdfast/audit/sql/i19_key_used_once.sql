-- Returns idempotency keys under which one user has several checkouts.
select idem_key, format('%s used this key for %s checkouts: %s', user_id, count(*), string_agg(saga_id::text, ', '))
from checkout
group by user_id, idem_key
having count(*) > 1
