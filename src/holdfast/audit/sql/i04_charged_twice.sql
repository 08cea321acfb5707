-- Under any key that the provider saw: grouped by the saga that the metadata name, not by our key.
select claimed, format('%s successful charges, of %s minor units in all', count(*), sum(amount))
from prov
where kind = 'charge' and status = 'ok' and claimed is not null
group by claimed
having count(*) > 1
