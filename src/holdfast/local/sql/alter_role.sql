alter role {role} login password {verifier}
