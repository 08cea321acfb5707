-- Deletes a group without living members, logs the operator and the reason, returns true. Returns false if the group
-- has a living member, and no row if there is no such group.
with found as (
    select
        exists (select 1 from members where group_name = %(group)b::text and expires_at > now())
        or exists (
            select 1 from leases
            where group_name = %(group)b::text and owner is not null and expires_at > now()
        ) as alive
    where exists (select 1 from leases where group_name = %(group)b::text)
        or exists (select 1 from members where group_name = %(group)b::text)
),
logged as (
    insert into operator_actions (operator, action, target, reason)
    select %(operator)b::text, 'forget_group', %(group)b::text, %(reason)b::text
    from found
    where not alive
    returning 1
),
no_members as (
    delete from members
    using logged
    where group_name = %(group)b::text
),
no_leases as (
    delete from leases
    using logged
    where group_name = %(group)b::text
)
select not alive from found
