-- Inserts checkouts, except those that conflict, and returns the inserted saga ids.
insert into checkout (
    saga_id, user_id, idem_key, fingerprint, cart_id, cart_version, total_minor, currency, created_ms, initiated
)
select
    saga_id::uuid, user_id, idem_key, fingerprint, cart_id, cart_version, total, currency, created_ms, initiated
from unnest(
    %(saga_ids)b::text[], %(user_ids)b::text[], %(idempotency_keys)b::text[], %(fingerprints)b::bytea[],
    %(cart_ids)b::text[], %(cart_versions)b::bigint[], %(totals)b::bigint[], %(currencies)b::text[],
    %(created_ms)b::bigint[], %(initiated)b::bytea[]
) with ordinality as u (
    saga_id, user_id, idem_key, fingerprint, cart_id, cart_version, total, currency, created_ms, initiated, n
)
order by cart_id, user_id, n
on conflict do nothing
returning saga_id::text
