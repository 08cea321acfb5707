-- Gives an existing role a new password.
alter role {role} login password {verifier}
