-- Counts a start at this place and committed offset, returns the count. A new offset starts again at 1.
insert into starts (place, position, count)
values (%(place)s, %(position)s, 1)
on conflict (place) do update
set
    count = case when starts.position = excluded.position then starts.count + 1 else 1 end,
    position = excluded.position
returning count
