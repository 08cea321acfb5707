"""The real code in a deterministic world: every service's own `build(ports)`, on ports that misbehave.

Nothing in production imports this room, and no rule of the protocol stands here: only what must hold of it.
"""
