-- Returns every charge and refund of the provider's ledger as it stands.
select ref, idem_key, saga_id, kind, amount, ccy, status from prov
