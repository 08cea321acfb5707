create role {role} login password {verifier}
