"""How many files and sockets this process may have open; a listener must not take them all."""

import resource

RESERVED = 512
"""For database, bus, log, the operations port, and those who are told that there is no room."""


def raise_limit() -> int:
    """Raise the limit as far as the system allows; return how many connections a listener may have."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard == resource.RLIM_INFINITY:
        return 2**31
    return max(1, hard - RESERVED)
