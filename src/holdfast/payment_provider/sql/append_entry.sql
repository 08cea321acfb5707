-- Appends a new object with its first status.
insert into entries (ref, turn, kind, status, amount, currency, intent, saga_id, idem_key, at_ms, object)
values (:ref, 1, :kind, :status, :amount, :currency, :intent, :saga_id, :idem_key, :at_ms, :object)
