"""The arithmetic of a load: when its requests are due, and what became of them. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass
class Run:
    """One measured load. A latency counts from when a request was due, not from when it was sent."""

    seconds: float = 0.0
    latencies_ms: list[float] = field(default_factory=list)

    def ended(self, seconds: float) -> "Run":
        """Close the books of this load: its latencies are put in order."""
        self.seconds = seconds
        self.latencies_ms.sort()
        return self

    @property
    def count(self) -> int:
        return len(self.latencies_ms)

    @property
    def per_second(self) -> float:
        return self.count / self.seconds

    def percentile(self, share: float) -> float:
        return percentile(self.latencies_ms, share)


def percentile(ascending: list[float], share: float) -> float:
    """Return the smallest value that at least this share of all does not exceed (the nearest rank)."""
    if not ascending:
        raise ValueError("nothing was measured")
    rank = -(-len(ascending) * round(share * 10_000) // 10_000)  # upwards, without a float's error
    return ascending[max(0, min(len(ascending), rank) - 1)]


def due_times(begin: float, rate: float, seconds: float) -> Iterator[float]:
    """Yield when each request of an open load is due: evenly, whatever became of those before it."""
    for n in range(round(rate * seconds)):
        yield begin + n / rate
