"""One simulated world as a seed draws it: what is bought, how many processes, which faults and how often.

Swarm testing (Groce et al. 2012): a seed switches whole kinds of faults on or off, never all at a low rate.
"""

from random import Random
from typing import NamedTuple

from holdfast.contracts.messages import Line
from holdfast.contracts.topics import CART, INVENTORY, ORCHESTRATOR, ORDER, PAYMENT
from holdfast.messaging.ids import uuid7
from holdfast.messaging.timers import TimerSettings
from holdfast.simulation.faults import ALL
from holdfast.simulation.provider import VISA

START_MS = 1_800_000_000_000
ORDER_TOTAL_MAX_MINOR = 10_000
PRICE_MINOR = 700
SKUS = ("A", "B")
SAGA_SERVICES = (ORCHESTRATOR, INVENTORY, PAYMENT, ORDER, CART)
ONE_EACH = tuple((service, 1) for service in SAGA_SERVICES)
TICKS_MS = (50, 500, 2_000, 6_000, 20_000, 61_000)

IMPATIENT = TimerSettings(
    resend_after_ms=500, backoff_cap_ms=2_000, patience_ms=2_000, patience_of_step_ms={}, horizon_ms=20_000
)


class Wish(NamedTuple):
    """A checkout that a shopper wants; `ttl_ms` from its accept to its last moment."""

    saga_id: str
    lines: tuple[Line, ...]
    card: str
    ttl_ms: int

    @property
    def cart_id(self) -> str:
        return f"cart-{self.saga_id[-4:]}"

    @property
    def total_minor(self) -> int:
        return sum(line.quantity * line.unit_price_minor for line in self.lines)


class Setup(NamedTuple):
    """What a world is made of; with a schedule, all that a replay needs."""

    wishes: tuple[Wish, ...]
    stock: tuple[tuple[str, int], ...] = (("A", 9), ("B", 9))
    instances: tuple[tuple[str, int], ...] = ONE_EACH
    partitions: int = 1
    batch_max: int = 500
    impatient: bool = False

    @property
    def timers(self) -> TimerSettings:
        return IMPATIENT if self.impatient else TimerSettings()


class Swarm(NamedTuple):
    """What may happen to it, and how often."""

    faults: tuple[str, ...]
    fault_rate: float
    fate_rate: float
    call_rate: float
    world_rate: float
    tick_rate: float
    steps: int


def draw_setup(rng: Random) -> Setup:
    """Draw a world."""
    count = rng.choice((1, 1, 2, 2, 3, 4))
    return Setup(
        wishes=tuple(_wish(n, rng) for n in range(count)),
        stock=tuple((sku, rng.choice((1, 2, 3, 9))) for sku in SKUS),
        instances=tuple((service, rng.choice((1, 1, 1, 2))) for service in SAGA_SERVICES),
        partitions=rng.choice((1, 2)),
        batch_max=rng.choice((1, 2, 500)),
        impatient=rng.random() < 0.6,
    )


def draw_swarm(rng: Random) -> Swarm:
    """Draw what may happen to a world."""
    kept = rng.choice((0.15, 0.3, 0.6, 1.0))
    return Swarm(
        faults=tuple(name for name in ALL if rng.random() < kept),
        fault_rate=rng.choice((0.0, 0.03, 0.1, 0.25)),
        fate_rate=rng.choice((0.0, 0.1, 0.3)),
        call_rate=rng.choice((0.0, 0.2, 0.5)),
        world_rate=rng.choice((0.0, 0.02, 0.06)),
        tick_rate=rng.choice((0.01, 0.05, 0.2)),
        steps=rng.choice((60, 120, 200)),
    )


def _wish(number: int, rng: Random) -> Wish:
    skus = rng.choice((("A",), ("A",), ("B",), ("A", "B")))
    dear = rng.random() < 0.15
    lines = tuple(
        Line(sku, rng.choice((1, 1, 2)), ORDER_TOTAL_MAX_MINOR if dear else PRICE_MINOR) for sku in skus
    )
    saga_id = str(uuid7(START_MS + number, rng.getrandbits(64) << 16 | number))
    card = VISA if rng.random() < 0.8 else "pm_card_chargeDeclined"
    return Wish(saga_id, lines, card, rng.choice((604_800_000, 604_800_000, 604_800_000, 5_000)))
