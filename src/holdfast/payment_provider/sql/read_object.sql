-- Returns an object as it is now.
select object from entries where ref = :ref order by turn desc limit 1
