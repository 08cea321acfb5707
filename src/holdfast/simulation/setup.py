"""One simulated world as a seed draws it: what is bought, how many processes, which faults and how often.

Swarm testing (Groce et al. 2012): a seed switches whole kinds of faults on or off, never all at a low rate.
"""

from random import Random
from typing import NamedTuple

from holdfast.contracts.steps import PATIENCE_OF_STEP_MS, SAGA_SERVICES
from holdfast.messaging.timers import TimerSettings
from holdfast.simulation.faults import ALL
from holdfast.simulation.provider import MASTERCARD, VISA

START_MS = 1_800_000_000_000
ORDER_TOTAL_MAX_MINOR = 10_000
PRICES_MINOR = {"A": 700, "B": 700, "C": 20_000}
"""What a piece costs; one C alone is more than an order may cost."""

TICKS_MS = (50, 500, 2_000, 6_000, 20_000, 61_000)
DEEP_EVERY = 8
"""One world in so many seeds is larger and runs longer: a small one does not reach every case."""

ONE_EACH = tuple((service, 1) for service in SAGA_SERVICES)

PATIENT = TimerSettings(patience_of_step_ms=PATIENCE_OF_STEP_MS)
IMPATIENT = TimerSettings(resend_after_ms=500, backoff_cap_ms=2_000, patience_ms=2_000, horizon_ms=20_000)


class CheckoutSpec(NamedTuple):
    """A checkout that a shopper wants, of a cart that began with these pieces."""

    cart_id: str
    pieces: tuple[tuple[str, int], ...]
    card: str = VISA


class Setup(NamedTuple):
    """What a world is made of; together with a schedule, all that a replay needs."""

    checkouts: tuple[CheckoutSpec, ...]
    stock: tuple[tuple[str, int], ...] = (("A", 9), ("B", 9), ("C", 9))
    instances: tuple[tuple[str, int], ...] = ONE_EACH
    partitions: int = 1
    batch_max: int = 500
    impatient: bool = False

    @property
    def timers(self) -> TimerSettings:
        return IMPATIENT if self.impatient else PATIENT


class Swarm(NamedTuple):
    """Which faults may happen in a world, and how often."""

    faults: tuple[str, ...]
    fault_rate: float
    delivery_fault_rate: float
    call_rate: float
    world_rate: float
    tick_rate: float
    arrive_rate: float
    steps: int


def draw_setup(rng: Random, *, deep: bool) -> Setup:
    """Draw a world; some of its checkouts are of the same cart."""
    checkouts: list[CheckoutSpec] = []
    for number in range(rng.choice((1, 1, 2, 2, 3, 4) if deep else (1, 1, 1, 2, 2, 3))):
        again = checkouts and rng.random() < 0.2
        cart_id, pieces = rng.choice(checkouts)[:2] if again else (f"cart-{number}", _pieces(rng))
        luck = rng.random()
        card = VISA if luck < 0.5 else MASTERCARD if luck < 0.8 else "pm_card_chargeDeclined"
        checkouts.append(CheckoutSpec(cart_id, pieces, card))
    return Setup(
        checkouts=tuple(checkouts),
        stock=tuple((sku, rng.choice((1, 2, 3, 9))) for sku in PRICES_MINOR),
        instances=tuple((service, rng.choice((1, 1, 1, 2))) for service in SAGA_SERVICES),
        partitions=rng.choice((1, 2)),
        batch_max=rng.choice((1, 2, 500)),
        impatient=rng.random() < 0.6,
    )


def _pieces(rng: Random) -> tuple[tuple[str, int], ...]:
    skus = rng.choice(("A", "A", "B", "AB"))
    dear = (("C", 1),) if rng.random() < 0.15 else ()
    return (*((sku, rng.choice((1, 1, 2))) for sku in skus), *dear)


def draw_swarm(rng: Random, *, deep: bool) -> Swarm:
    """Draw which faults a world has, and their rates."""
    kept = rng.choice((0.15, 0.3, 0.6, 1.0))
    return Swarm(
        faults=tuple(name for name in ALL if rng.random() < kept),
        fault_rate=rng.choice((0.0, 0.03, 0.1, 0.25)),
        delivery_fault_rate=rng.choice((0.0, 0.1, 0.3)),
        call_rate=rng.choice((0.0, 0.2, 0.5)),
        world_rate=rng.choice((0.0, 0.02, 0.06)),
        tick_rate=rng.choice((0.02, 0.1, 0.3)),
        arrive_rate=rng.choice((0.005, 0.05, 0.3)),
        steps=rng.choice((60, 120, 200) if deep else (10, 15, 30)),
    )
