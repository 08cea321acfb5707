delete from starts where place = any(%(places)b::text[])
