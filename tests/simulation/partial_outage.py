"""Shoppers come by a timetable to the whole platform in virtual time, and the provider fails some of them."""

from dataclasses import dataclass, field
from random import Random

from holdfast.contracts.topics import ORCHESTRATOR, PAYMENT
from holdfast.services.payment_gateway.domain import Payment, ProviderCall, ProviderRequest
from holdfast.simulation.provider import MASTERCARD, VISA, Outage, SimCaller
from holdfast.simulation.run import fair_turns, quiet_logs
from holdfast.simulation.setup import CheckoutSpec, Setup
from holdfast.simulation.world import Action, World

TICK_MS = 20
LATENCY_S = 0.2
REST_MS = 20_000
RATIO_MAX = 3


@dataclass(frozen=True)
class Arrival:
    """One shopper: when, and with which card."""

    at_ms: int
    card: str = VISA


@dataclass
class Seen:
    """What became of the shoppers. Latencies of those whose payment the provider does not fail, ascending."""

    latencies_ms: list[int] = field(default_factory=list)
    undone: list[str] = field(default_factory=list)
    waiting: int = 0
    opened: int = 0

    def p99_ms(self) -> int:
        return self.latencies_ms[int(len(self.latencies_ms) * 0.99)]


def steady(count: int, per_s: float, share: float = 0.0, seed: int = 1) -> list[Arrival]:
    """Let shoppers come at an even rate, some of them with a Mastercard."""
    rng = Random(seed)
    return [
        Arrival(int(1000 * n / per_s), MASTERCARD if rng.random() < share else VISA) for n in range(count)
    ]


def after_a_crowd(failing: int, good: int, behind_ms: int = 3_000) -> list[Arrival]:
    """Let many with a Mastercard come at once to an idle platform, and others behind them."""
    crowd = [Arrival(0, MASTERCARD) for _ in range(failing)]
    return crowd + [Arrival(behind_ms + n * 200) for n in range(good)]


def check(arrivals: list[Arrival], outage: Outage) -> Seen:
    """Let them come while the provider fails some: no other is undone or waits three times as long."""
    calm = Load([Arrival(each.at_ms) for each in arrivals], None).run(REST_MS)
    seen = Load(arrivals, outage).run(REST_MS)
    assert (seen.undone, seen.waiting) == ([], 0)
    assert seen.p99_ms() < RATIO_MAX * calm.p99_ms(), (seen.p99_ms(), calm.p99_ms())
    return seen


class Load:
    """Runs one world by a timetable. `outage` lasts from the first arrival to the end."""

    def __init__(self, arrivals: list[Arrival], outage: Outage | None) -> None:
        checkouts = tuple(
            CheckoutSpec(f"cart-{n}", (("A", 1),), each.card) for n, each in enumerate(arrivals)
        )
        self.world = World(Setup(checkouts, stock=(("A", len(arrivals)),)))
        self.world.provider.latency_s = LATENCY_S
        self.world.provider.outage = outage
        self._arrivals = arrivals
        self._position = 0
        self._start_ms = self.world.now_ms
        self._began: dict[str, int] = {}
        self._ended: dict[str, int] = {}

    @property
    def caller(self) -> SimCaller:
        return self.world.processes[f"{PAYMENT}-1"].caller

    def run(self, for_ms: int) -> Seen:
        """Let all arrive and `for_ms` pass after the last of them; return what was seen."""
        return self.go_on(self._arrivals[-1].at_ms + for_ms)

    def go_on(self, for_ms: int) -> Seen:
        """Let time pass; return what was seen."""
        until_ms = self.world.now_ms + for_ms
        with quiet_logs():
            while self.world.now_ms <= until_ms:
                self._let_arrive()
                while sum(self.world.act(action) for action in fair_turns(self.world)):
                    pass
                self._note_ends()
                self.world.now_ms += TICK_MS
        return self._seen()

    def _let_arrive(self) -> None:
        passed_ms = self.world.now_ms - self._start_ms
        while self._position < len(self._arrivals) and self._arrivals[self._position].at_ms <= passed_ms:
            self.world.act(Action("start", str(self._position)))
            self._began[self.world.shoppers.accepted[self._position]] = self.world.now_ms
            self._position += 1

    def _note_ends(self) -> None:
        for saga_id, saga in self.world.table(ORCHESTRATOR, "saga").items():
            if saga.state in ("COMPLETED", "FAILED") and saga_id not in self._ended:
                self._ended[saga_id] = self.world.now_ms

    def _seen(self) -> Seen:
        """Return what became of those whose payment the provider does not fail."""
        seen = Seen(opened=self.caller.breaker.transitions["open"])
        payments = self.world.table(PAYMENT, "payment")
        for saga_id, began_ms in self._began.items():
            if self._fails(payments.get(saga_id)):
                continue
            if saga_id not in self._ended:
                seen.waiting += 1
            elif self.world.table(ORCHESTRATOR, "saga")[saga_id].state == "FAILED":
                seen.undone.append(saga_id)
            else:
                seen.latencies_ms.append(self._ended[saga_id] - began_ms)
        seen.latencies_ms.sort()
        return seen

    def _fails(self, payment: Payment | None) -> bool:
        outage = self.world.provider.outage
        return bool(payment and outage and outage.strikes(ProviderCall(ProviderRequest.CHARGE, payment, 1)))
