"""Sets how many files and sockets this process may open; a listener must not use them all."""

import resource

RESERVED = 512
"""For database, bus, log, operations port, and connections that are accepted only to be refused."""


def raise_limit() -> int:
    """Raise the limit to the hard limit; return how many connections a listener may have."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard == resource.RLIM_INFINITY:
        return 2**31
    return max(1, hard - RESERVED)
