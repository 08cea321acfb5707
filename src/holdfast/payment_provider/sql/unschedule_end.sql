-- Deletes the scheduled final status of an object.
delete from due where ref = :ref
