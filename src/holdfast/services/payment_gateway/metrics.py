"""Metrics of payments: sums of open payments, read every 5 s; calls by outcome; alarms."""

from collections.abc import Iterable
from typing import Any

from prometheus_client.core import Metric

from holdfast.messaging.consumer import KafkaConsumerManager
from holdfast.messaging.handler import HandlerResult
from holdfast.messaging.periodic_task import PeriodicTask
from holdfast.runtime.telemetry import counter, gauge
from holdfast.services.payment_gateway.charging import ChargeLoop
from holdfast.services.payment_gateway.handlers import OpenMoney, PaymentTransaction

LOOK_EVERY_MS = 5_000


class OpenPaymentsMetrics:
    """The writer's periodic task that sums up what is unknown and what is owed."""

    def __init__(self) -> None:
        self._open: list[OpenMoney] = []
        self._now_ms = 0

    def periodic_task(self) -> PeriodicTask[Any]:
        """Return this as a periodic task of the writer."""
        return PeriodicTask("payments_overview", LOOK_EVERY_MS, self.run_once)

    def run_once(self, manager: "KafkaConsumerManager[Any]") -> None:
        """Read the sums."""

        def read(tx: PaymentTransaction) -> HandlerResult:
            self._open, self._now_ms = tx.open_money(), tx.now_ms()
            return HandlerResult()

        manager.commit(read)

    def readings(self, charges: ChargeLoop) -> Iterable[Metric]:
        """Return all metrics of payments."""
        yield from self._sums("unknown", "Payments whose outcome at the provider is not known.")
        yield from self._sums("owed", "Payments that the provider holds and the shopper should have.")
        outcomes = {key: float(count) for key, count in charges.outcomes.items()}
        yield counter("payment_calls", "Calls to the provider by answer.", outcomes, ("ask", "outcome"))
        alarms = {(name,): float(count) for name, count in charges.alarms.items()}
        yield counter("payment_alarms", "What a person should look at.", alarms, ("alarm",))

    def _sums(self, which: str, text: str) -> Iterable[Metric]:
        found = [each for each in self._open if each.which == which]
        oldest_s = max((self._now_ms - each.since_ms for each in found), default=0) / 1000
        counts = {(each.currency,): float(each.payments) for each in found}
        amounts = {(each.currency,): float(each.amount_minor) for each in found}
        yield gauge(f"payments_{which}", text, counts, ("currency",))
        yield gauge(f"payments_{which}_minor", "Their sum in minor units.", amounts, ("currency",))
        yield gauge(f"payments_{which}_oldest_age_seconds", "Age of the oldest.", {(): oldest_s})
