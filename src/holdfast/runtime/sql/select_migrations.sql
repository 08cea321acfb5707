-- Returns the applied migrations.
select name, checksum from migration
