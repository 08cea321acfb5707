"""The kernel's metrics, read from live counters at each scrape."""

from collections.abc import Iterable, Mapping
from typing import Any

from prometheus_client.core import Metric

from holdfast.http_server.connection_table import ConnectionTable
from holdfast.messaging.breaker import STATES, Circuit
from holdfast.messaging.components import Components
from holdfast.messaging.message_origin import REFUSALS
from holdfast.messaging.pruner import Pruner
from holdfast.messaging.topic_watch import TopicWatch
from holdfast.runtime.telemetry import counter, gauge

Values = dict[tuple[str, ...], float]


def kernel_readings(components: Components[Any]) -> Iterable[Metric]:
    """Return the counters and gauges of the writer and the relay."""
    counters, relay = components.manager.counters, components.relay
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
    refused: Values = {(reason,): components.processor.refused[reason] for reason in sorted(REFUSALS)}
    yield counter(
        "messages_refused",
        "Records parked because their source, id or content was not theirs to say.",
        refused,
        ("reason",),
    )
    yield counter(
        "records_misplaced", "Records whose key belongs to another partition.", {(): counters.misplaced}
    )
    yield counter("batches", "Batches committed.", {(): counters.batches})
    yield counter("troubles", "Rounds that failed for database or bus.", {(): counters.transient_failures})
    yield counter(
        "offsets_refused", "Offset commits refused because others own them.", {(): counters.fenced_commits}
    )
    yield gauge(
        "messages_deferred",
        "Messages that wait for rows others hold, or whose statements the database refuses.",
        {(): len(components.manager.deferred)},
    )
    suspected = len(components.manager.deferred.suspects)
    yield gauge(
        "messages_suspected", "Of these, those whose statements the database refuses.", {(): suspected}
    )
    yield counter("tasks_postponed", "Tasks that met rows others hold.", {(): counters.tasks_postponed})
    yield gauge("outbox_waiting_batches", "Batches committed and not yet published.", {(): relay.waiting()})
    yield gauge(
        "outbox_undelivered_messages",
        "Messages that the bus does not take, or that wait behind one.",
        {(): relay.undelivered()},
    )
    yield gauge(
        "outbox_oldest_age_seconds",
        "Age of the oldest row.",
        {(): components.outbox_rescuer.oldest_age_ms / 1000},
    )


def topic_readings(watch: TopicWatch) -> Iterable[Metric]:
    """Return the topics that have too many or too few partitions, and how many were read anew."""
    differing: Values = {(topic,): count for topic, count in watch.differing.items()}
    yield gauge("topic_partitions_differing", "Partitions of a topic not as agreed.", differing, ("topic",))
    yield counter("topic_partitions_made_anew", "Partitions read from the beginning.", {(): watch.made_anew})


def breaker_readings(breakers: Iterable[Circuit]) -> Iterable[Metric]:
    """Return each breaker's state, its number of transitions, and how many calls it refused."""
    held = list(breakers)
    state: Values = {(b.name, state): float(b.state == state) for b in held for state in STATES}
    moves: Values = {(b.name, state): count for b in held for state, count in b.transitions.items()}
    rejected: Values = {(b.name,): b.rejected for b in held}
    yield gauge("breaker_state", "1 at the state that the breaker is in.", state, ("breaker", "state"))
    yield counter("breaker_transitions", "Moves into each state.", moves, ("breaker", "state"))
    yield counter("breaker_rejections", "Calls refused while it was open.", rejected, ("breaker",))


def http_readings(tables: Mapping[str, ConnectionTable]) -> Iterable[Metric]:
    """Return each listener's open connections, those that wait for the client, and the refusals by reason."""
    held = list(tables.items())
    open_: Values = {(name,): table.open for name, table in held}
    waiting: Values = {(name,): table.waiting for name, table in held}
    refused: Values = {(name, why): count for name, table in held for why, count in table.refused.items()}
    yield gauge("http_server_connections", "Connections that are open.", open_, ("listener",))
    yield gauge(
        "http_server_connections_waiting",
        "Of these, those whose next move is the client's.",
        waiting,
        ("listener",),
    )
    yield counter(
        "http_server_refused",
        "Requests and connections that ended before the application was called, by reason.",
        refused,
        ("listener", "reason"),
    )


def pruner_readings(pruner: Pruner[Any]) -> Iterable[Metric]:
    """Return how many rows this instance has pruned, and when its last pass ended."""
    rows: dict[tuple[str, ...], float] = {(table,): count for table, count in pruner.rows.items()}
    yield counter("pruned_rows", "Rows of ended sagas deleted, by table.", rows, ("table",))
    yield counter("pruning_passes", "Passes through all tables.", {(): pruner.passes})
    yield gauge(
        "pruning_last_pass_timestamp_seconds", "End of the last pass.", {(): pruner.last_pass_ms / 1000}
    )
