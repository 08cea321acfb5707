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
