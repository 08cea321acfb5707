-- Returns the applied migrations with their checksums.
select version, checksum
from versions
order by version
