-- Returns the oldest batches of at least this age. A date in the future counts as an age of the same length.
select id, batch
from outbox
where
    (
        at <= now() - %(older_than_ms)s * interval '1 millisecond'
        or at >= now() + %(older_than_ms)s * interval '1 millisecond'
    )
    and id <> all(%(left_out)b::bigint[])
order by id
limit %(limit)s
