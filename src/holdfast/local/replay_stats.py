"""Counts how a replay's checkouts ended and how long they took.

Pure: the commands print.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from holdfast.local.orders import Orders
from holdfast.local.replay import TERMINAL, ReplayResult


class ReplayStats:
    """The results so far, one for each invoice; a second one for an invoice is a bug of the replay."""

    def __init__(self) -> None:
        self._outcomes: dict[str, ReplayResult] = {}

    def add(self, outcome: ReplayResult) -> None:
        assert outcome.invoice not in self._outcomes, f"{outcome.invoice} was counted before"
        self._outcomes[outcome.invoice] = outcome

    def __len__(self) -> int:
        return len(self._outcomes)

    @property
    def unfinished(self) -> list[ReplayResult]:
        """The results whose saga is not known to be terminal."""
        return [outcome for outcome in self._outcomes.values() if outcome.state not in TERMINAL]

    def states(self) -> dict[str, int]:
        """Count by state, the most frequent first."""
        return _counted(outcome.state for outcome in self._outcomes.values())

    def reasons(self) -> dict[str, int]:
        """Count all that did not complete, by reason."""
        return _counted(o.reason for o in self._outcomes.values() if o.state != "COMPLETED")

    def seconds(self) -> float:
        """Return the time from the first checkout sent to the last end seen."""
        ended = self._outcomes.values()
        return max(o.ended_at for o in ended) - min(o.sent_at for o in ended) if ended else 0.0

    def latencies_ms(self) -> list[float]:
        """Return how long each completed checkout took from its POST until COMPLETED was seen, ascending."""
        done = (o for o in self._outcomes.values() if o.state == "COMPLETED")
        return sorted((o.ended_at - o.sent_at) * 1000 for o in done)

    def summary(self) -> dict[str, Any]:
        """Return the figures for programs; percentiles are null if nothing completed."""
        seconds, latencies = self.seconds(), self.latencies_ms()
        return {
            "checkouts": len(self),
            "states": self.states(),
            "reasons": self.reasons(),
            "seconds": round(seconds, 3),
            "per_s": round(len(self) / seconds, 1) if seconds > 0 else None,
            "p50_ms": percentile(latencies, 50),
            "p99_ms": percentile(latencies, 99),
        }


def orders_summary(orders: Orders) -> dict[str, Any]:
    """Return what was read, under the same names in every command's output."""
    return {
        "rows": orders.rows,
        "invoices": len(orders.invoices),
        "codes": len(orders.catalogue),
        "rows_otherwise_priced": orders.rows_otherwise_priced,
        "rejects": len(orders.rejects),
        "rejects_by_reason": _counted(reject.reason for reject in orders.rejects),
    }


def percentile(ascending: Sequence[float], share: int) -> float | None:
    """Return the smallest value that `share` percent of all do not exceed (nearest rank), or None."""
    if not ascending:
        return None
    return round(ascending[math.ceil(len(ascending) * share / 100) - 1], 1)


def _counted(names: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(names).items(), key=lambda item: (-item[1], item[0])))
