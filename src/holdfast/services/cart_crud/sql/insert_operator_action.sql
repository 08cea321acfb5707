insert into operator_action (operator, action, subject, reason)
values (%(operator)s, %(action)s, %(subject)s, %(reason)s)
