-- Returns events that are to be sent now, the longest due first.
select seq, subject, payment_method, script, body, attempts, created_ms from events
where due_ms <= :now_ms order by due_ms, seq limit :limit
