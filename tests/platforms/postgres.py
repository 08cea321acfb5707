"""The wiring of production: PostgreSQL stores, a real bus, real time, short settings, the provider's ledger.

The books are the audit's, over all databases, the bus and the ledger.
"""

import os
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import psycopg
from tests.platforms.delivery_faults import FaultyBus
from tests.platforms.one_process import OneProcess, Wiring
from tests.platforms.skewed_clock import SkewedClock

from holdfast import audit
from holdfast.audit import KafkaSource, PostgresSource, Sources
from holdfast.bus.kafka.bus import KafkaBus
from holdfast.bus.kafka.settings import KafkaSettings
from holdfast.bus.message_signature import read_keys
from holdfast.bus.postgres import schema as postgres_schema
from holdfast.bus.postgres.bus import PostgresBus
from holdfast.contracts.steps import PATIENCE_OF_STEP_MS
from holdfast.contracts.topics import (
    CART,
    GATEWAY,
    INVENTORY,
    ORCHESTRATOR,
    ORDER,
    PAYMENT,
    SERVICES,
    all_topics,
)
from holdfast.local.keys import Keys
from holdfast.local.postgres import EmbeddedPostgres
from holdfast.messaging.database import PostgresTransaction
from holdfast.messaging.postgres_store import PostgresStore
from holdfast.messaging.timers import TimerSettings
from holdfast.payment_provider import operations
from holdfast.payment_provider.cards import CARDS
from holdfast.payment_provider.ledger import Ledger
from holdfast.payment_provider.operations import ChargeParams, RefundParams
from holdfast.runtime.migrations import migrate
from holdfast.runtime.principals import postgres_access, role_of
from holdfast.runtime.production_ports import monotonic_ms
from holdfast.services.cart_crud.store import PostgresCartTransaction
from holdfast.services.checkout_orchestrator.store import PostgresSagaTransaction
from holdfast.services.gateway_bff.store import PostgresGatewayTransaction
from holdfast.services.inventory_write.store import PostgresInventoryTransaction
from holdfast.services.order_create.store import PostgresOrderTransaction
from holdfast.services.payment_gateway.domain import (
    Declined,
    ProviderCall,
    ProviderRequest,
    ProviderResult,
    Succeeded,
)
from holdfast.services.payment_gateway.store import PostgresPaymentTransaction

TRANSACTIONS: dict[str, type[PostgresTransaction]] = {
    GATEWAY: PostgresGatewayTransaction,
    ORCHESTRATOR: PostgresSagaTransaction,
    INVENTORY: PostgresInventoryTransaction,
    PAYMENT: PostgresPaymentTransaction,
    ORDER: PostgresOrderTransaction,
    CART: PostgresCartTransaction,
}
TIMERS = TimerSettings(resend_after_ms=200, backoff_cap_ms=500, patience_ms=1_500, horizon_ms=10_000)
KAFKA_TIMERS = TimerSettings(resend_after_ms=500, backoff_cap_ms=2_000, patience_ms=8_000, horizon_ms=20_000)
"""A round of all services takes longer on Kafka."""
SKEWED_TIMERS = TimerSettings(patience_ms=120_000, patience_of_step_ms=PATIENCE_OF_STEP_MS)
"""Production's, with more patience: a slow machine must not pass for a silent participant."""

REST_S = 0.02
PARTITIONS = 2


class LedgerProvider:
    """The provider's real ledger and operations without its process; every key is answered the same again."""

    def __init__(self, path: Path) -> None:
        self._ledger = Ledger(path)
        self._answers: dict[str, ProviderResult] = {}

    def call(self, calls: Sequence[ProviderCall]) -> list[ProviderResult]:
        for call in calls:
            if call.idempotency_key not in self._answers:
                self._answers[call.idempotency_key] = self._ask(call)
        return [self._answers[call.idempotency_key] for call in calls]

    def close(self) -> None:
        self._ledger.close()

    def _ask(self, call: ProviderCall) -> ProviderResult:
        payment, key = call.payment, call.idempotency_key
        metadata = {"saga_id": payment.saga_id}
        self._ledger.begin()
        if call.ask is ProviderRequest.REFUND:
            body = operations.refund(
                self._ledger, RefundParams(payment.charge_id, None, metadata, None), key
            ).body
            intent = msgspec.json.decode(body)
        else:
            card = CARDS[payment.payment_method]
            currency = payment.currency.lower()
            ask = ChargeParams(payment.amount_minor, currency, payment.payment_method, card, metadata, None)
            intent = msgspec.json.decode(operations.charge(self._ledger, ask, key).body)
        self._ledger.commit()
        if "error" in intent:
            return Declined(intent["error"].get("decline_code", "generic_decline"), "no")
        return Succeeded(str(intent["latest_charge"] if call.ask is ProviderRequest.CHARGE else intent["id"]))


@contextmanager
def postgres_platform(
    server: EmbeddedPostgres, folder: Path, kafka: str | None = None, clock: SkewedClock | None = None
) -> Iterator[OneProcess]:
    """Make a platform on fresh databases of `server`, on its own bus or on a Kafka of this platform alone.

    If a `clock` is given, its databases go by it, and the patience is long.
    """
    names = {name: f"one_{os.getpid()}_{uuid.uuid4().hex[:8]}" for name in (*SERVICES, "bus")}
    dsns = {}
    for name, database in names.items():
        server.ensure_database(database)
        dsns[name] = server.dsn(database)
        with psycopg.connect(dsns[name], autocommit=True) as connection:
            connection.execute(f"alter database {database} set synchronous_commit = off".encode())
        if clock:
            clock.install(dsns[name])
    for service in SERVICES:
        package = f"holdfast.services.{service.replace('-', '_')}"
        migrate(dsns[service], ["holdfast.messaging", package], time.sleep)
    bus = _kafka_buses(kafka, folder) if kafka else _buses(server, names["bus"])
    ledger = folder / "ledger.sqlite"
    provider = LedgerProvider(ledger)
    sources = _sources(dsns, ledger, kafka)
    wiring = _wiring(dsns, bus, provider, sources, kafka)
    if clock:
        wiring.monotonic_ms, wiring.timers = clock.monotonic_ms, SKEWED_TIMERS
    platform = OneProcess(wiring)
    try:
        yield platform
    finally:
        platform.close()
        provider.close()
        for database in names.values():
            server.drop_database(database)


def _buses(server: EmbeddedPostgres, database: str) -> FaultyBus:
    """Make the bus with a role for each service."""
    server.ensure_roles([role_of(service) for service in SERVICES])
    postgres_schema.set_up(server.dsn(database), all_topics(), PARTITIONS, postgres_access())
    return FaultyBus(lambda service: PostgresBus(server.dsn(database, role_of(service)), lease_s=60.0))


def _kafka_buses(bootstrap: str, folder: Path) -> FaultyBus:
    (folder / "keys").mkdir(exist_ok=True)
    keys = Keys(folder / "keys")
    keys.ensure()
    settings = KafkaSettings(bootstrap)
    return FaultyBus(lambda service: KafkaBus(settings, read_keys(keys.messages(service))))


def _wiring(
    dsns: dict[str, str], bus: FaultyBus, provider: LedgerProvider, sources: Sources, kafka: str | None
) -> Wiring:
    def order(saga_id: str) -> Any:
        statement = "select status, user_id, total_minor, skus, quantities from orders where saga_id = %s"
        with psycopg.connect(dsns[ORDER]) as connection:
            return connection.execute(statement, [saga_id]).fetchone()

    def books(_: OneProcess) -> list[str]:
        report = audit.run_on(sources, 0.0)
        return [*map(str, report.violations), *report.quiet, *map(str, report.parked)]

    return Wiring(
        partitions=PARTITIONS,
        name="kafka" if kafka else "postgres",
        stores={s: PostgresStore(dsns[s], tx, size=2, name=s) for s, tx in TRANSACTIONS.items()},
        bus=bus,
        provider=provider,
        monotonic_ms=monotonic_ms,
        rest=lambda: time.sleep(REST_S),
        order=order,
        books=books,
        timers=KAFKA_TIMERS if kafka else TIMERS,
        ask_every_ms=400,
        resend_after_ms=600,
        limit_ms=200_000,
        poll_s=0.02 if kafka else 0.0,
        dsns=dsns,
    )


def _sources(dsns: dict[str, str], ledger: Path, kafka: str | None) -> Sources:
    return Sources(
        gateway=dsns[GATEWAY],
        orchestrator=dsns[ORCHESTRATOR],
        inventory=dsns[INVENTORY],
        payment=dsns[PAYMENT],
        order=dsns[ORDER],
        cart=dsns[CART],
        bus=KafkaSource(kafka) if kafka else PostgresSource(dsns["bus"]),
        ledger=ledger,
    )
