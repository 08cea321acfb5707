-- Returns due calls of each lane up to its limit: the least often tried first, of these the oldest or newest.
select saga_id::text, step, verb, kind, partition, since_ms, due_ms, fired, outbox_id, end_offset
from (
    select
        t.*, lane.n, lane.calls_max,
        row_number() over (
            partition by lane.n
            order by t.fired, case when lane.newest_first then -t.due_ms else t.due_ms end, t.saga_id
        ) as position
    from timers t
    join unnest(
        %(verbs)b::text[], %(fresh)b::boolean[], %(limits)b::integer[], %(newest_first)b::boolean[]
    ) with ordinality as lane (verb, fresh, calls_max, newest_first, n)
        on lane.verb = t.verb and lane.fresh = (t.fired = 0)
    where
        t.kind = 'resolve'
        and (
            t.due_ms <= (extract(epoch from now()) * 1000)::bigint
            or t.due_ms > (extract(epoch from now()) * 1000)::bigint + %(horizon_ms)s
        )
) as due
where position <= calls_max
order by n, position
