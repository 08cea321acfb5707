with gone as (
    delete from members
    where group_name = %(group)b::text and member = %(me)b::text
)
update leases
set owner = null
where group_name = %(group)b::text and owner = %(me)b::text
