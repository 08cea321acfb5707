"""The real code in a deterministic world: every service's own `build(ports)`, on ports with faults.

Nothing in production imports this package. It holds no rule of the protocol, only the invariants.
"""
