"""The counters of the process, in their own registry; every series exists from the start, at zero.

Labels hold no ids; the ledger says which payment was concerned.
"""

from collections.abc import Callable
from typing import get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from holdfast.payment_provider.faults import RequestFault, WebhookFault

OPERATIONS = ("charge", "refund", "cancel", "lookup")
OUTCOMES = ("ok", "declined", "refused", "in_use", "limited", "error", "silent")
DELIVERIES = ("delivered", "refused", "failed")
_BATCHES = (1, 2, 5, 10, 20, 50, 100, 200, 500)
_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)


def outcome_of(status: int) -> str:
    """Name the class of an HTTP status by what it means for money."""
    if status < 400:
        return "ok"
    if status >= 500:
        return "error"
    return {402: "declined", 409: "in_use", 429: "limited"}.get(status, "refused")


class Metrics:
    """The counters of one process."""

    def __init__(self) -> None:
        registry = CollectorRegistry()
        self._registry = registry
        requests = Counter(
            "provider_requests", "Requests by outcome", ["operation", "outcome"], registry=registry
        )
        seconds = Histogram(
            "provider_request_duration_seconds",
            "Time to answer",
            ["operation"],
            registry=registry,
            buckets=_SECONDS,
        )
        applied = Counter(
            "provider_behaviour_played", "Scripted faults that were applied", ["do"], registry=registry
        )
        sent = Counter("provider_webhooks", "Webhook deliveries tried", ["outcome"], registry=registry)
        self._requests = {(op, end): requests.labels(op, end) for op in OPERATIONS for end in OUTCOMES}
        self._seconds = {op: seconds.labels(op) for op in OPERATIONS}
        self._applied = {do: applied.labels(do) for do in _fault_names()}
        self._sent = {outcome: sent.labels(outcome) for outcome in DELIVERIES}
        self._batches = Histogram(
            "provider_commit_batch", "Jobs a commit", registry=registry, buckets=_BATCHES
        )
        self._commits = Histogram(
            "provider_commit_seconds", "Time of a transaction", registry=registry, buckets=_SECONDS
        )
        self._dropped = Gauge(
            "provider_log_lines_dropped", "Log lines that could not be written in time", registry=registry
        )
        self.ready = Gauge("provider_ready", "1 while ready to serve", registry=registry)

    def request(self, operation: str, outcome: str, seconds: float) -> None:
        self._requests[operation, outcome].inc()
        self._seconds[operation].observe(seconds)

    def commit(self, jobs: int, seconds: float) -> None:
        self._batches.observe(jobs)
        self._commits.observe(seconds)

    def fault_applied(self, rule: RequestFault | WebhookFault) -> None:
        self._applied[rule.do].inc()

    def webhook(self, outcome: str) -> None:
        self._sent[outcome].inc()

    def log_lines_dropped(self, count: Callable[[], int]) -> None:
        """Set the function that counts dropped log lines."""
        self._dropped.set_function(count)

    def render(self) -> bytes:
        """Return the text that Prometheus scrapes."""
        return generate_latest(self._registry)


def _fault_names() -> list[str]:
    models = (*get_args(RequestFault), *get_args(WebhookFault))
    return [do for model in models for do in get_args(model.model_fields["do"].annotation)]
