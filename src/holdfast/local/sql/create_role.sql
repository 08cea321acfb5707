-- Creates a role that can log in with this password.
create role {role} login password {verifier}
