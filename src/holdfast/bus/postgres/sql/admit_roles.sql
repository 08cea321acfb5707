-- Lets these roles, and no others, call the bus's functions.
select admit_roles(%(principals)b::text[])
