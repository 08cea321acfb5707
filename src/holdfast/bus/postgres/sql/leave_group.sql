-- Gives up all leases of this member and deletes it from the group.
select leave_group(%(group)b::text, %(me)b::text)
