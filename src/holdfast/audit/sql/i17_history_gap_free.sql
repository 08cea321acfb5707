-- Returns events whose numbers do not count from 1 without a gap, and sagas whose version is not the last number.
select saga_id::text, format('event %s of the history has the number %s', n, seq)
from (
    select saga_id, seq, row_number() over (partition by saga_id order by seq) as n from saga_event
) numbered
where seq <> n
union all
select s.saga_id::text, format('the saga has seen %s events, its history ends with %s', s.version, coalesce(e.last, 0))
from saga s
left join (select saga_id, max(seq) as last from saga_event group by saga_id) e using (saga_id)
where s.version is distinct from e.last and not s.pruned
