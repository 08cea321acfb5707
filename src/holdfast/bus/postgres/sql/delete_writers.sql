-- Deletes all rights to write.
delete from writers
