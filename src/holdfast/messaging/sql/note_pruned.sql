-- Records that rows of this table below a key may be gone, and adds up how many were deleted.
insert into pruned (name, before_id, rows)
values (%(name)s, %(before_id)s::uuid, %(rows)s)
on conflict (name) do update
set
    before_id = greatest(pruned.before_id, excluded.before_id),
    rows = pruned.rows + excluded.rows,
    at = now()
