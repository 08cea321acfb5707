"""The kernel's metrics, read from live counters when scraped."""

from collections.abc import Iterable
from typing import Any

from prometheus_client.core import Metric

from holdfast.messaging.breaker import STATES, Breaker
from holdfast.messaging.ports import Parts
from holdfast.messaging.pruning import Pruner
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
    yield gauge(
        "messages_deferred", "Messages that wait for rows others hold.", {(): len(parts.manager.deferred)}
    )
    yield counter("chores_put_off", "Chores that met rows others hold.", {(): counters.chores_put_off})
    yield gauge("outbox_waiting_batches", "Batches committed and not yet published.", {(): relay.waiting()})
    yield gauge(
        "outbox_undelivered_messages",
        "Messages that the bus does not take, or that wait behind one.",
        {(): relay.undelivered()},
    )
    yield gauge(
        "outbox_oldest_age_seconds", "Age of the oldest row.", {(): parts.lying_rows.oldest_age_ms / 1000}
    )


def breaker_readings(breakers: Iterable[Breaker]) -> Iterable[Metric]:
    """Return the state of each circuit breaker, how often it moved, and how many calls it refused."""
    held = list(breakers)
    state: Values = {(b.name, state): float(b.state == state) for b in held for state in STATES}
    moves: Values = {(b.name, state): count for b in held for state, count in b.transitions.items()}
    rejected: Values = {(b.name,): b.rejected for b in held}
    yield gauge("breaker_state", "1 at the state that the breaker is in.", state, ("breaker", "state"))
    yield counter("breaker_transitions", "Moves into each state.", moves, ("breaker", "state"))
    yield counter("breaker_rejections", "Calls refused while it was open.", rejected, ("breaker",))


def pruner_readings(pruner: Pruner[Any]) -> Iterable[Metric]:
    """Return what this instance has pruned, and when it last came to the end of a pass."""
    rows: dict[tuple[str, ...], float] = {(table,): count for table, count in pruner.rows.items()}
    yield counter("pruned_rows", "Rows of ended sagas deleted, by table.", rows, ("table",))
    yield counter("pruning_passes", "Passes through all tables.", {(): pruner.passes})
    yield gauge(
        "pruning_last_pass_timestamp_seconds", "End of the last pass.", {(): pruner.last_pass_ms / 1000}
    )
