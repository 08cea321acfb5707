"""How long to wait before the next attempt: doubled up to a cap, with jitter. Pure.

The jitter comes from a hash, not from a random number, so that a replay waits equally (protocol: timers).
"""

from zlib import crc32


def backoff_ms(attempt: int, base_ms: int, cap_ms: int, seed: str) -> int:
    """Return the wait after `attempt` (n, from 1) tries: 50 to 100 % of min(cap, base * 2^(n-1))."""
    full = min(cap_ms, base_ms * 2 ** min(attempt - 1, 30))
    share = crc32(f"{seed}:{attempt}".encode()) / 2**32
    return int(full / 2 + full / 2 * share)
