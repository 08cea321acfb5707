"""The kernel's metrics, read from live counters when scraped."""

from collections.abc import Iterable
from typing import Any

from prometheus_client.core import Metric

from holdfast.messaging.breaker import STATES, Breaker
from holdfast.messaging.ports import Parts
from holdfast.runtime.telemetry import counter, gauge

Values = dict[tuple[str, ...], float]


def kernel_readings(parts: Parts[Any]) -> Iterable[Metric]:
    """Return what the writer and the relay have done."""
    counters, relay = parts.manager.counters, parts.relay
    yield counter(
        "messages",
        "Records by what became of them.",
        {
            ("handled",): counters.handled,
            ("parked",): counters.parked,
            ("skipped",): max(0, counters.records - counters.handled - counters.parked),
        },
        ("result",),
    )
    yield counter("batches", "Batches committed.", {(): counters.batches})
    yield counter("troubles", "Rounds that failed for database or bus.", {(): counters.troubles})
    yield counter(
        "offsets_refused", "Offset commits refused because others own them.", {(): counters.zombies}
    )
    yield gauge("outbox_waiting_batches", "Batches committed and not yet published.", {(): relay.waiting()})
    yield gauge("outbox_oldest_age_seconds", "Age of the oldest row.", {(): parts.outbox_age_ms() / 1000})


def breaker_readings(breakers: Iterable[Breaker]) -> Iterable[Metric]:
    """Return the state of each circuit breaker, how often it moved, and how many calls it refused."""
    held = list(breakers)
    state: Values = {(b.name, state): float(b.state == state) for b in held for state in STATES}
    moves: Values = {(b.name, state): count for b in held for state, count in b.transitions.items()}
    rejected: Values = {(b.name,): b.rejected for b in held}
    yield gauge("breaker_state", "1 at the state that the breaker is in.", state, ("breaker", "state"))
    yield counter("breaker_transitions", "Moves into each state.", moves, ("breaker", "state"))
    yield counter("breaker_rejections", "Calls refused while it was open.", rejected, ("breaker",))
