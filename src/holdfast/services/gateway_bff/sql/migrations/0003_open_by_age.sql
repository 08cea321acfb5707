-- What is sent again is found by its age, among what is open alone: a range of keys holds all that ended, too.
create index open_checkouts on checkout (saga_id)
where last_status not in ('COMPLETED', 'FAILED');
