select version, checksum
from versions
order by version
