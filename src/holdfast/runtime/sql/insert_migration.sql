-- Records an applied migration.
insert into migration (name, checksum) values (%(name)s, %(checksum)s)
