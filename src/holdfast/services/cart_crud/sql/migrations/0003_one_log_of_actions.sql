-- The kernel keeps the operators' log of every service: what stood here moves there.
insert into operator_actions (at, operator, action, target, reason)
select at, operator, action, subject, reason from operator_action order by id;

drop table operator_action;
