-- Deletes all rights to read.
delete from readers
