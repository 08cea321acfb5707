select ref, idem_key, saga_id, kind, amount, ccy, status from prov
