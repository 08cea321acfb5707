select admit_roles(%(principals)b::text[])
