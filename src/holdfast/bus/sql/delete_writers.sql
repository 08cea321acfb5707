delete from writers
