-- Adds an event, to be sent now by webhook.
insert into events (subject, payment_method, script, body, due_ms, created_ms)
values (:subject, :payment_method, :script, :body, :now_ms, :now_ms)
