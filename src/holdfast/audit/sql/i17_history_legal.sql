-- Returns moves of a history that are no legal edge; it begins at NONE. An event that only sent again has no path.
with walked as (
    select
        e.saga_id, e.seq, u.state,
        lag(u.state, 1, 'NONE') over (partition by e.saga_id order by e.seq, u.n) as before
    from saga_event e, unnest(string_to_array(e.path, ',')) with ordinality as u (state, n)
)
select w.saga_id::text, format('event %s led from %s to %s', w.seq, w.before, w.state)
from walked w
left join legal_edge l on l.from_state = w.before and l.to_state = w.state
where l.from_state is null
