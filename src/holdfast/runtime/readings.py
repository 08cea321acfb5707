"""The kernel's metrics, read from live counters when scraped."""

from collections.abc import Iterable
from typing import Any

from prometheus_client.core import Metric

from holdfast.messaging.ports import Parts
from holdfast.runtime.telemetry import counter, gauge


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
