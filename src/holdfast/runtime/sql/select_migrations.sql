select name, checksum from migration
