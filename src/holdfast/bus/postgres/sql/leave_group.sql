select leave_group(%(group)b::text, %(me)b::text)
