-- Deletes the counts of starts at these places.
delete from starts where place = any(%(places)b::text[])
