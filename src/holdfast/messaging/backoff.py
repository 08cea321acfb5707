"""How long to wait before trying again: capped doubling, jitter by hash. Pure.

The jitter comes from a hash, not from chance, so that a replay waits the same (protocol: timers).
"""

from zlib import crc32


def backoff_ms(attempt: int, base_ms: int, cap_ms: int, seed: str) -> int:
    """Return the wait after `attempt` tries (from 1): between half and all of min(cap, base * 2^(n-1))."""
    full = min(cap_ms, base_ms * 2 ** min(attempt - 1, 30))
    share = crc32(f"{seed}:{attempt}".encode()) / 2**32
    return int(full / 2 + full / 2 * share)
