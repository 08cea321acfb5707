delete from due where ref = :ref
