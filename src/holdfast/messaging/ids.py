"""UUIDv7: keys that sort by creation time (RFC 9562, 5.7). Pure: time and random bits are parameters."""

from uuid import UUID


def uuid7(now_ms: int, random_80_bits: int) -> UUID:
    """Make a version 7 UUID from Unix milliseconds and 74 of the given random bits."""
    rand_a = random_80_bits >> 62 & 0xFFF
    rand_b = random_80_bits & (1 << 62) - 1
    return UUID(int=(now_ms & (1 << 48) - 1) << 80 | 0x7 << 76 | rand_a << 64 | 0b10 << 62 | rand_b)


def uuid7_floor(at_ms: int) -> str:
    """Return the smallest UUID that a key made at `at_ms` or later can have."""
    return str(UUID(int=(max(at_ms, 0) & (1 << 48) - 1) << 80))


def uuid7_after(key: str) -> str:
    """Return the next possible key; the last possible key is returned unchanged."""
    return str(UUID(int=min(UUID(key).int + 1, (1 << 128) - 1)))
