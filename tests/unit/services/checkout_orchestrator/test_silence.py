"""Silence, end to end in memory (protocol, lines 13 to 15): sent again, then undone; never because of us."""

from collections.abc import Callable, Collection
from typing import Any

import pytest
from tests.memory_platform import MemoryPlatform
from tests.origin import publish_as_written
from tests.samples import saga_id

from holdfast.contracts.codec import encode
from holdfast.contracts.messages import PaymentProcessed
from holdfast.contracts.steps import PATIENCE_OF_STEP_MS
from holdfast.contracts.topics import CART, INVENTORY, ORCHESTRATOR, ORDER, PAYMENT
from holdfast.messaging.envelope import seal
from holdfast.messaging.store import TimerRow
from holdfast.messaging.timers import TimerSettings
from holdfast.saga.state import SagaInstance

SAGA = saga_id(7)
PIECES = (("A", 2),)
SECOND_MS, MINUTE_MS, HOUR_MS, DAY_MS = 1_000, 60_000, 3_600_000, 86_400_000
TICK_MS = 500
SETTINGS = TimerSettings(patience_of_step_ms=PATIENCE_OF_STEP_MS)
RELAYS = "relays"


class SilentPlatform(MemoryPlatform):
    """Parts of it can be off while time passes; the orchestrator's database has a time of its own."""

    def __init__(self) -> None:
        super().__init__({"A": 10})
        self.skew_ms = 0
        self.sagas._now_ms = lambda: self.now_ms + self.skew_ms
        self.by_name = dict(zip((ORCHESTRATOR, PAYMENT, INVENTORY, ORDER, CART), self.parts, strict=True))
        self.put_cart(f"cart-{SAGA}", PIECES)
        self.initiate(SAGA, PIECES)

    def turn(self, off: Collection[str] = ()) -> None:
        """Let every service that is not off run once."""
        for name, parts in self.by_name.items():
            if name in off:
                continue
            parts.manager.run_once(0)
            if RELAYS not in off or name != ORCHESTRATOR:
                parts.relay.run_once(0)
        if PAYMENT not in off:
            self.payment.charge_loop.run_once()

    def pass_time(self, ms: int, off: Collection[str] = ()) -> None:
        for _ in range(ms // TICK_MS):
            self.now_ms += TICK_MS
            self.turn(off)

    def until(self, condition: Callable[[], bool], off: Collection[str], ms_max: int = HOUR_MS) -> int:
        """Let time pass until something holds; return how much it took."""
        began_ms = self.now_ms
        while not condition():
            assert self.now_ms - began_ms < ms_max, f"not in {ms_max} ms; it is {self.state(SAGA)}"
            self.pass_time(TICK_MS, off)
        return self.now_ms - began_ms

    def saga(self) -> SagaInstance:
        found: SagaInstance = self.sagas.tables.tables["saga"][SAGA]
        return found

    def owed(self) -> tuple[str, ...]:
        return self.saga().owed if self.state(SAGA) != "NONE" else ()

    def timer(self) -> TimerRow:
        [row] = self.sagas.tables.tables["timers"].values()
        found: TimerRow = row
        return found

    def asked(self, kind: str) -> int:
        """How often a message of this type lies on the bus."""
        records = [record for log in self.bus.state.log.values() for record in log]
        return sum(1 for record in records if dict(record.headers)["ce_type"] == kind.encode())

    def nothing_is_left(self) -> None:
        """The saga failed, and there is neither a hold nor money that was not given back."""
        assert self.state(SAGA) == "FAILED"
        assert self.stock("A") == (10, 0, 0)
        assert self.provider.charges == self.provider.refunds
        assert not self.sagas.tables.tables["timers"]


@pytest.fixture
def platform() -> SilentPlatform:
    return SilentPlatform()


# -- sent again, then undone


@pytest.mark.parametrize(
    ("silent", "command", "owed", "patience_ms"),
    [
        (INVENTORY, "ReserveInventory", ("inventory",), SETTINGS.patience_ms),
        (PAYMENT, "ProcessPayment", ("payment", "inventory"), SETTINGS.patience("payment")),
        (ORDER, "CreateOrder", ("order", "payment", "inventory"), SETTINGS.patience_ms),
    ],
)
def test_line_14_a_silent_step_is_asked_again_and_then_undone_with_all_before_it(
    platform: SilentPlatform, silent: str, command: str, owed: tuple[str, ...], patience_ms: int
) -> None:
    """The step's own outcome is unknown, so it is undone as well, whenever it wakes."""
    off = (silent, CART)
    passed = platform.until(lambda: bool(platform.owed()), off)
    assert patience_ms <= passed <= patience_ms + 2 * SETTINGS.backoff_cap_ms
    assert platform.asked(command) >= 3
    assert (platform.saga().owed[0], platform.saga().reason) == (owed[0], "deadline")
    assert platform.orchestrator.checkout_service.metrics.undone_by_deadline == {owed[0]: 1}
    platform.pass_time(MINUTE_MS, off)
    assert platform.saga().owed == owed[:1], "the others are undone without waiting for the silent one"
    platform.pass_time(2 * MINUTE_MS)
    platform.nothing_is_left()


def test_line_9_the_pivot_is_asked_for_ever_and_never_undone(platform: SilentPlatform) -> None:
    platform.pass_time(HOUR_MS, (CART,))
    assert platform.state(SAGA) == "CART_CLEARANCE_PENDING"
    assert platform.asked("ClearCart") > HOUR_MS // SETTINGS.backoff_cap_ms
    assert platform.orchestrator.checkout_service.metrics.pivot_overdue > 10
    assert not platform.saga().stalled_ms
    platform.pass_time(MINUTE_MS)
    assert platform.state(SAGA) == "COMPLETED"


def test_late_replies_change_nothing(platform: SilentPlatform) -> None:
    platform.until(lambda: bool(platform.owed()), (PAYMENT,))
    platform.pass_time(2 * MINUTE_MS)
    platform.nothing_is_left()
    before, sent = platform.saga(), sum(map(len, platform.bus.state.log.values()))
    paid = PaymentProcessed("pi_late", 200, "GBP")
    late = seal(f"{SAGA}:payment:done", "PaymentProcessed", SAGA, paid, PAYMENT)
    assert encode(paid) == late.value
    publish_as_written(platform.bus, [late, late])
    platform.pass_time(MINUTE_MS)
    assert platform.saga() == before
    assert sum(map(len, platform.bus.state.log.values())) == sent + 2, "no message follows from it"
    [(row, times)] = platform.sagas.tables.tables["saga_ignored"].values()
    assert (row.kind, row.reason, times) == ("PaymentProcessed", "saga_ended", 2)


# -- never because we were the slow ones


def _awaiting_payment_for(platform: SilentPlatform, ms: int) -> None:
    """Bring the saga to where its payment has been asked for several times and is still on its way."""
    platform.pass_time(ms, (PAYMENT,))
    assert platform.state(SAGA) == "PAYMENT_PROCESSING_PENDING"
    assert platform.timer().fired >= 2


@pytest.mark.parametrize("waited_ms", [30 * SECOND_MS, 295 * SECOND_MS])
@pytest.mark.parametrize("away_ms", [2 * MINUTE_MS, 10 * MINUTE_MS, DAY_MS])
def test_an_orchestrator_that_was_off_undoes_no_healthy_saga(
    platform: SilentPlatform, waited_ms: int, away_ms: int
) -> None:
    """The answer lies on the bus, unread, when it comes back and looks at its deadlines first."""
    _awaiting_payment_for(platform, waited_ms)
    for name in (PAYMENT, INVENTORY, ORDER, CART, PAYMENT):
        platform.now_ms += TICK_MS
        platform.by_name[name].manager.run_once(0)
        platform.payment.charge_loop.run_once()
        platform.by_name[name].relay.run_once(0)
    assert platform.asked("PaymentProcessed") == 1
    platform.now_ms += away_ms
    platform.pass_time(MINUTE_MS)
    assert platform.state(SAGA) == "COMPLETED"


@pytest.mark.parametrize("waited_ms", [0, 30 * SECOND_MS, 295 * SECOND_MS])
@pytest.mark.parametrize("away_ms", [15 * SECOND_MS, 2 * MINUTE_MS, 10 * MINUTE_MS])
def test_a_bus_that_was_off_undoes_no_healthy_saga(
    platform: SilentPlatform, waited_ms: int, away_ms: int
) -> None:
    if waited_ms:
        _awaiting_payment_for(platform, waited_ms)
    else:
        platform.turn()
    platform.bus.state.reachable = False
    platform.pass_time(away_ms)
    platform.bus.state.reachable = True
    platform.pass_time(2 * MINUTE_MS)
    assert platform.state(SAGA) == "COMPLETED"


@pytest.mark.parametrize("silent", [INVENTORY, ORDER, PAYMENT])
@pytest.mark.parametrize("away_s", [20, 45, 90, 600])
def test_a_bus_that_took_nothing_from_us_undoes_no_healthy_saga(
    platform: SilentPlatform, silent: str, away_s: int
) -> None:
    """We read, but cannot publish: what a deadline sends again waits in our outbox, and does not count.

    As with two of three brokers gone. The first answer takes 15 s after all is well again.
    """
    platform.until(lambda: any(k.step == _step(silent) for k in _timers(platform)), (silent,))
    platform.pass_time(away_s * SECOND_MS, (silent, RELAYS))
    platform.pass_time(15 * SECOND_MS, (silent,))
    platform.pass_time(2 * MINUTE_MS)
    assert platform.state(SAGA) == "COMPLETED"


def _step(service: str) -> str:
    return {INVENTORY: "inventory", PAYMENT: "payment", ORDER: "order"}[service]


def _timers(platform: SilentPlatform) -> Any:
    return platform.sagas.tables.tables.get("timers", {})


# -- a clock that jumps


@pytest.mark.parametrize("ahead_ms", [MINUTE_MS, 5 * HOUR_MS, 400 * DAY_MS])
@pytest.mark.parametrize("waited_ms", [2 * SECOND_MS, 60 * SECOND_MS, 295 * SECOND_MS])
def test_line_15_a_clock_that_jumps_ahead_expires_nothing_by_itself(
    platform: SilentPlatform, ahead_ms: int, waited_ms: int
) -> None:
    """All patience seems to be over at once; yet each step still has all of it."""
    platform.pass_time(waited_ms, (PAYMENT,))
    platform.skew_ms = ahead_ms
    platform.pass_time(4 * MINUTE_MS, (PAYMENT,))
    assert platform.state(SAGA) == "PAYMENT_PROCESSING_PENDING"
    platform.pass_time(MINUTE_MS)
    assert platform.state(SAGA) == "COMPLETED"


@pytest.mark.parametrize("jump_ms", [5 * HOUR_MS, -5 * HOUR_MS, -90 * SECOND_MS, -400 * DAY_MS])
def test_line_15_a_clock_that_jumped_immortalises_nothing(platform: SilentPlatform, jump_ms: int) -> None:
    platform.pass_time(20 * SECOND_MS, (PAYMENT,))
    platform.skew_ms = jump_ms
    bound_ms = SETTINGS.patience("payment") + SETTINGS.horizon_ms + 2 * SETTINGS.backoff_cap_ms
    platform.until(lambda: bool(platform.owed()), (PAYMENT,), bound_ms)
    platform.pass_time(3 * MINUTE_MS)
    platform.nothing_is_left()


def test_line_15_a_clock_that_goes_to_and_fro_neither_expires_nor_forgets(platform: SilentPlatform) -> None:
    for n in range(20):
        platform.skew_ms = (-1) ** n * HOUR_MS
        platform.pass_time(20 * SECOND_MS, (PAYMENT,))
    assert platform.state(SAGA) == "PAYMENT_PROCESSING_PENDING"
    assert platform.asked("ProcessPayment") >= 20, "it is still sent again and again"
    platform.pass_time(MINUTE_MS)
    assert platform.state(SAGA) == "COMPLETED"


# -- stalled (line 11)


def test_line_11_a_stuck_undo_is_stalled_with_what_is_owed_and_ends_when_its_participant_heals(
    platform: SilentPlatform,
) -> None:
    platform.until(lambda: bool(platform.owed()), (INVENTORY,))
    assert not platform.saga().stalled_ms
    platform.until(lambda: bool(platform.saga().stalled_ms), (INVENTORY,), 2 * MINUTE_MS)
    watch, census = platform.orchestrator.checkout_service.metrics, platform.orchestrator.open_sagas
    platform.pass_time(10 * SECOND_MS, (INVENTORY,))
    assert watch.stalled == {"inventory": 1}
    assert _values(census.readings())["checkout_sagas_stalled"] == {(): 1}
    sent = platform.asked("CompensateInventory")
    platform.pass_time(5 * MINUTE_MS, (INVENTORY,))
    assert platform.asked("CompensateInventory") >= sent + 9, "it goes on being sent"
    assert watch.stalled == {"inventory": 1}, "one alarm is enough"
    platform.pass_time(MINUTE_MS)
    platform.nothing_is_left()
    assert platform.saga().stalled_ms == 0
    assert _values(census.readings())["checkout_sagas_stalled"] == {(): 0}


def test_metrics_tell_firings_ends_and_open_sagas_by_state(platform: SilentPlatform) -> None:
    platform.pass_time(20 * SECOND_MS, (PAYMENT,))
    orchestrator = platform.orchestrator
    values = _values([*orchestrator.checkout_service.metrics.readings(), *orchestrator.open_sagas.readings()])
    assert values["checkout_sagas_open"][("PAYMENT_PROCESSING_PENDING",)] == 1
    assert values["checkout_sagas_open"][("COMPENSATING",)] == 0
    assert values["checkout_deadlines_fired"] == {("payment", "do"): platform.timer().fired}
    assert values["checkout_saga_oldest_age_seconds"][()] >= 15
    platform.pass_time(MINUTE_MS)
    values = _values([*orchestrator.checkout_service.metrics.readings(), *orchestrator.open_sagas.readings()])
    assert values["checkout_sagas_ended"] == {("COMPLETED", ""): 1}
    assert not any(values["checkout_sagas_open"].values())


def _values(metrics: Any) -> dict[str, dict[tuple[str, ...], float]]:
    return {
        metric.name: {tuple(sample.labels.values()): sample.value for sample in metric.samples}
        for metric in metrics
    }
