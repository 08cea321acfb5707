delete from readers
