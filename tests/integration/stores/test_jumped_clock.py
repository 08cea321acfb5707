"""The databases' clock jumps under sagas at every step: nothing expires by it, and nothing waits for it."""

from collections.abc import Collection, Iterator

import pytest
from tests.platforms.one_process import OneProcess
from tests.platforms.postgres import SKEWED_TIMERS, postgres_platform
from tests.platforms.skewed_clock import SkewedClock

from holdfast.contracts.topics import CART, INVENTORY, ORCHESTRATOR, ORDER, PAYMENT
from holdfast.local.postgres import EmbeddedPostgres
from holdfast.messaging.store import TimerRow
from holdfast.simulation.run import quiet_logs

DAY_MS = 86_400_000
JUMPS = pytest.mark.parametrize("jump_ms", [3 * DAY_MS, -3_600_000], ids=["3_days_ahead", "1_hour_back"])
PARTICIPANTS = (INVENTORY, PAYMENT, ORDER, CART)
STEPS = ("inventory", "payment", "order", "cart")
LOOK_MS = 5_000
"""More than the writer's pause between two looks for due timers, less than what makes a firing late."""
LONG_MS = 1_800_000
"""Six payments' patiences and less than the clock is set back by."""


@pytest.fixture(scope="module")
def clock() -> Iterator[SkewedClock]:
    clock = SkewedClock()
    yield clock
    clock.close()


@pytest.fixture(scope="module")
def platform(
    postgres: EmbeddedPostgres, clock: SkewedClock, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[OneProcess]:
    with (
        quiet_logs(),
        postgres_platform(postgres, tmp_path_factory.mktemp("platform"), clock=clock) as platform,
    ):
        yield platform


def waiting_at_each_step(platform: OneProcess, clock: SkewedClock) -> dict[str, str]:
    """Bring a saga to each step, whose participant is silent long enough to be asked again; return them."""
    sagas: dict[str, str] = {}
    for number in reversed(range(len(STEPS))):
        saga_id, _ = platform.buy((("A", 1),), "pm_card_visa")
        _await(platform, saga_id, STEPS[number], PARTICIPANTS[number:])
        sagas[STEPS[number]] = saga_id
    while any(timers(platform, saga_id)[step].fired < 2 for step, saga_id in sagas.items()):
        pass_in_silence(platform, clock)
    return sagas


def pass_in_silence(platform: OneProcess, clock: SkewedClock) -> None:
    """Let time pass for which no participant does anything; what fires is sent, and known to be sent."""
    clock.pass_ms(LOOK_MS)
    for _ in range(2):
        platform.round(PARTICIPANTS)


def timers(platform: OneProcess, saga_id: str) -> dict[str, TimerRow]:
    with platform.wiring.stores[ORCHESTRATOR].transaction() as tx:
        return {row.key.step: row for row in tx.read_timers(saga_id)}


def _await(platform: OneProcess, saga_id: str, step: str, silent: Collection[str]) -> None:
    platform.until(lambda: step in timers(platform, saga_id), lambda: f"{saga_id} waits for {step}", silent)


def state(platform: OneProcess, saga_id: str) -> str:
    saga = platform.saga(saga_id)
    assert saga is not None
    return saga.state


@JUMPS
def test_a_jump_sends_again_and_undoes_nothing(
    platform: OneProcess, clock: SkewedClock, jump_ms: int
) -> None:
    sagas = waiting_at_each_step(platform, clock)
    before = {step: timers(platform, saga_id)[step] for step, saga_id in sagas.items()}
    states = {step: state(platform, saga_id) for step, saga_id in sagas.items()}
    clock.jump_ms(jump_ms)
    pass_in_silence(platform, clock)
    for step, saga_id in sagas.items():
        assert state(platform, saga_id) == states[step]
        assert timers(platform, saga_id)[step].fired > before[step].fired, f"{step} is asked again at once"
    platform.settle()
    assert {state(platform, saga_id) for saga_id in sagas.values()} == {"COMPLETED"}


@JUMPS
def test_silence_after_a_jump_is_believed_after_a_patience_that_really_passed(
    platform: OneProcess, clock: SkewedClock, jump_ms: int
) -> None:
    sagas = waiting_at_each_step(platform, clock)
    clock.jump_ms(jump_ms)
    jumped_ms, undone_after_ms = clock.monotonic_ms(), dict[str, int]()
    while len(undone_after_ms) < len(STEPS) - 1:
        pass_in_silence(platform, clock)
        passed_ms = clock.monotonic_ms() - jumped_ms
        assert passed_ms < LONG_MS, f"only {undone_after_ms} ended"
        for step, saga_id in sagas.items():
            if state(platform, saga_id) == "COMPENSATING":
                undone_after_ms.setdefault(step, passed_ms)
    for step, after_ms in undone_after_ms.items():
        assert after_ms >= SKEWED_TIMERS.patience(step), step
    assert "cart" not in undone_after_ms, "past the pivot nothing is undone"
    platform.settle()
    ends = {step: state(platform, saga_id) for step, saga_id in sagas.items()}
    assert ends == dict.fromkeys(STEPS, "FAILED") | {"cart": "COMPLETED"}
