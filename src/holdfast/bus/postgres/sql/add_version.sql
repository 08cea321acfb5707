-- Records that a migration was applied.
insert into versions (version, name, checksum)
values (%(version)b::int4, %(name)b::text, %(checksum)b::text)
