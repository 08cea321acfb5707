select object from entries where ref = :ref order by turn desc limit 1
