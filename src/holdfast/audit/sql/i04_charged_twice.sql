-- Returns sagas with more than one successful charge, under any key: grouped by the saga id in the metadata.
select claimed, format('%s successful charges, of %s minor units in all', count(*), sum(amount))
from prov
where kind = 'charge' and status = 'ok' and claimed is not null
group by claimed
having count(*) > 1
