-- Writes what the provider answered.
update payment p
set
    charge_id = u.charge_id,
    refund_id = u.refund_id,
    decline_code = u.decline_code,
    last_error = u.last_error,
    same_error = u.same_error,
    changed_at = now()
from unnest(
    %(saga_ids)b::text[], %(charge_ids)b::text[], %(refund_ids)b::text[], %(decline_codes)b::text[],
    %(last_errors)b::text[], %(same_errors)b::integer[]
) as u (saga_id, charge_id, refund_id, decline_code, last_error, same_error)
where p.saga_id = u.saga_id::uuid and p.saga_id = any(%(saga_ids)b::text[]::uuid[])
