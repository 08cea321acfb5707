"""payment-gateway against the provider's own process and a real database: every way a call can go wrong.

The provider's ledger is the arbiter: never two charges, never a charge left behind by an undo.
"""

import time
from collections.abc import Iterator

import msgspec
import pytest
from tests.integration.payment_provider.provider_process import KEY, ProviderProcess, running
from tests.integration.stores.batches import Command, envelopes
from tests.samples import SAMPLES, saga_id

from holdfast.bus.memory import MemoryBus
from holdfast.contracts.messages import ProcessPayment
from holdfast.local.postgres import EmbeddedPostgres
from holdfast.messaging.batch_processor import BatchProcessor
from holdfast.messaging.fence import FenceState
from holdfast.messaging.handler import Handler
from holdfast.messaging.participant import ParticipantHandler
from holdfast.messaging.postgres_store import PostgresStore
from holdfast.messaging.producer import ProducerManager
from holdfast.messaging.relay import Relay
from holdfast.messaging.store import Store
from holdfast.runtime.migrations import migrate
from holdfast.services.payment_gateway.charging import ChargeLoop
from holdfast.services.payment_gateway.continuous import ContinuousCharges
from holdfast.services.payment_gateway.domain import Declined, Payment, ProviderCall, ProviderRequest
from holdfast.services.payment_gateway.handlers import PaymentParticipant, PaymentTransaction
from holdfast.services.payment_gateway.store import PostgresPaymentTransaction
from holdfast.services.payment_gateway.stripe_provider import StripeProvider, provider_breaker

WITHIN_S = 60.0


class Gateway:
    """The real parts of payment-gateway, one thread, no bus; nothing waits for its backoff."""

    def __init__(self, dsn: str, url: str) -> None:
        migrate(dsn, ["holdfast.messaging", "holdfast.services.payment_gateway"], time.sleep)
        self.store: Store[PaymentTransaction] = PostgresStore(dsn, PostgresPaymentTransaction, size=2)
        self.provider = StripeProvider(url, KEY, 0.5)
        self._handler: Handler[PaymentTransaction] = ParticipantHandler(PaymentParticipant())
        processor = BatchProcessor[PaymentTransaction]("payment-gateway", self.store, self._handler)
        relay = Relay(ProducerManager(MemoryBus(lambda: 0.0)), "me")
        self.loop = ChargeLoop(processor, relay, self.provider)
        self.charges = ContinuousCharges(self.loop, self.provider)
        self.number = 0

    @property
    def saga(self) -> str:
        """The saga of the test that runs now."""
        return saga_id(self.number)

    def command(self, kind: str, card: str = "pm_card_visa") -> None:
        payload = SAMPLES[kind]
        if isinstance(payload, ProcessPayment):
            payload = msgspec.structs.replace(payload, payment_method=card)
        with self.store.transaction() as tx:
            self._handler.handle(tx, envelopes([Command(self.number, kind, payload)], "payment"))

    def state(self) -> FenceState:
        with self.store.transaction() as tx:
            return FenceState(tx.payment_page(self.saga, 1)[0].state)

    def run_until(self, *states: FenceState) -> None:
        """Make rounds until the payment is in one of these; the time between calls is cut short."""
        deadline = time.monotonic() + WITHIN_S
        while self.state() not in states:
            assert time.monotonic() < deadline, f"still {self.state()}"
            with self.store.transaction() as tx:
                tx.hint_calls([self.saga])
            self.charges.run_once()

    def close(self) -> None:
        self.charges.drain()
        self.provider.close()
        self.store.close()


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProviderProcess]:
    with running(tmp_path_factory.mktemp("provider")) as provider:
        yield provider


@pytest.fixture(scope="module")
def shared_gateway(postgres: EmbeddedPostgres, provider: ProviderProcess) -> Iterator[Gateway]:
    postgres.ensure_database("payment_modes")
    gateway = Gateway(postgres.dsn("payment_modes"), provider.url)
    yield gateway
    gateway.close()


@pytest.fixture
def gateway(shared_gateway: Gateway) -> Gateway:
    """The gateway, about to handle a saga of this test alone; what other tests met is forgotten."""
    shared_gateway.number += 1
    shared_gateway.provider.breaker = provider_breaker()
    return shared_gateway


def money(gateway: Gateway, provider: ProviderProcess) -> dict[str, int]:
    """Return how many successful charges and refunds of the saga the provider's ledger holds."""
    rows = provider.prov("status = 'ok' and saga_id = ?", gateway.saga)
    return {kind: sum(row["kind"] == kind for row in rows) for kind in ("charge", "refund")}


MODES = [
    "latency_300ms",
    "timeout_before_x2",
    "timeout_after_x2",
    "late_1500ms",
    "error_heals_x2",
    "error_stored_with_effect",
    "in_flight_x2",
    "rate_limit",
    "lock_timeout",
    "unavailable_x2",
    "succeed_later_800ms",
]


@pytest.mark.parametrize("mode", MODES)
def test_a_charge_is_made_exactly_once(gateway: Gateway, provider: ProviderProcess, mode: str) -> None:
    gateway.command("ProcessPayment", f"pm_card_visa__{mode}")
    gateway.run_until(FenceState.DONE, FenceState.REFUSED)
    assert gateway.state() is FenceState.DONE
    assert money(gateway, provider) == {"charge": 1, "refund": 0}


@pytest.mark.parametrize("mode", [*MODES, "fail_later_500ms"])
def test_an_undo_while_it_is_unknown_leaves_no_charge_behind(
    gateway: Gateway, provider: ProviderProcess, mode: str
) -> None:
    gateway.command("ProcessPayment", f"pm_card_visa__{mode}")
    gateway.charges.run_once()
    gateway.command("CompensatePayment")
    gateway.run_until(FenceState.UNDONE, FenceState.REFUSED, FenceState.TOMBSTONE)
    held = money(gateway, provider)
    assert held["charge"] == held["refund"] == (1 if gateway.state() is FenceState.UNDONE else 0)


@pytest.mark.parametrize(
    "mode",
    [
        "refund_timeout_before",
        "refund_timeout_after",
        "refund_late_1500ms",
        "refund_error_heals_x2",
        "refund_error_stored_with_effect",
        "refund_in_flight",
        "refund_rate_limit",
        "refund_succeed_later_500ms",
    ],
)
def test_a_refund_is_made_exactly_once(gateway: Gateway, provider: ProviderProcess, mode: str) -> None:
    gateway.command("ProcessPayment", f"pm_card_visa__{mode}")
    gateway.run_until(FenceState.DONE)
    gateway.command("CompensatePayment")
    gateway.run_until(FenceState.UNDONE)
    assert money(gateway, provider) == {"charge": 1, "refund": 1}


def test_the_port_repeats_a_decline_under_its_key_whatever_becomes_of_the_intent(
    gateway: Gateway, provider: ProviderProcess
) -> None:
    """Protocol 16: declined and canceled are definitive only because the provider repeats them."""
    payment = Payment(gateway.saga, "ada", "pm_card_chargeDeclined", 300, "GBP")
    first = gateway.provider.call([ProviderCall(ProviderRequest.CHARGE, payment, 1)])
    assert isinstance(first[0], Declined)
    assert gateway.provider.call([ProviderCall(ProviderRequest.CHARGE, payment, 2)]) == first
    [intent] = provider.search(gateway.saga)
    assert provider.post(f"/v1/payment_intents/{intent['id']}/cancel", None, {}).status_code == 200
    assert gateway.provider.call([ProviderCall(ProviderRequest.CHARGE, payment, 3)]) == first
    [found] = gateway.provider.call([ProviderCall(ProviderRequest.FIND_CHARGE, payment, 4)])
    assert found == Declined("canceled", "the payment was canceled")
    assert money(gateway, provider) == {"charge": 0, "refund": 0}
