"""What must hold in a simulated world: the numbered invariants, over the tables and the ledger.

Each check names every violation. `InvariantWatch` runs those that always hold, `settled` those at rest.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

from holdfast.contracts.steps import PARTICIPANTS, STEPS
from holdfast.contracts.topics import CART, GATEWAY, INVENTORY, ORCHESTRATOR, ORDER, PAYMENT, TOPICS
from holdfast.contracts.topics import dead_letters as letters_of
from holdfast.saga.definition import SagaDefinition, StepClass
from holdfast.saga.state import SagaInstance
from holdfast.sagas.checkout import CHECKOUT
from holdfast.simulation.setup import PRICES_MINOR
from holdfast.simulation.world import World


class InvariantViolation(NamedTuple):
    """One invariant that is broken, and how."""

    invariant: str
    detail: str

    def __str__(self) -> str:
        return f"{self.invariant}: {self.detail}"


def legal_edges(definition: SagaDefinition) -> frozenset[tuple[str, str]]:
    """Return the state changes that the table of steps allows, read from the table and not from `decide`."""
    back, failed = definition.compensating, definition.failed_state
    legal = {("NONE", definition.initial), ("NONE", failed), (back, failed)}
    before = definition.initial
    for position, step in enumerate(definition.steps):
        legal |= {(before, step.pending), (step.pending, step.finished)}
        if step.step_class is not StepClass.RETRIABLE:
            legal.add((step.pending, back))
        if not position:
            legal.add((step.pending, failed))
        before = step.finished
    return frozenset(legal)


LEGAL = legal_edges(CHECKOUT)
DEAD_LETTERS = frozenset(letters_of(topic) for topic in TOPICS)
STANDING = frozenset(("RUNNING", "DONE", "UNDOING", "CONFIRMED"))
"""States of a fence in which a step is done, or may yet be."""
AT_REST = {row.name: row.at_rest for row in STEPS}
"""The state of each step of a completed saga in the end."""


class InvariantWatch:
    """Checks what must hold at every moment; reads history and ledger only if they grew."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._entries = 0
        self._events = 0
        self._heads: dict[str, tuple[int, str]] = {}

    def look(self) -> list[InvariantViolation]:
        """Return what is broken now."""
        found: list[InvariantViolation] = []
        world = self._world
        if len(world.provider.ledger) != self._entries:
            self._entries = len(world.provider.ledger)
            found += charged_twice(world)
        found += oversold(world)
        found += left_standing(world)
        if len(world.table(ORCHESTRATOR, "saga_event")) != self._events:
            found += self._history()
        return found

    def _history(self) -> Iterator[InvariantViolation]:
        events = world_events = self._world.table(ORCHESTRATOR, "saga_event")
        rows = list(events.values())[self._events :]
        self._events = len(world_events)
        for row in rows:
            seq, state = self._heads.get(row.saga_id, (0, "NONE"))
            if row.seq != seq + 1:
                yield InvariantViolation("I17", f"{row.saga_id}: history goes from {seq} to {row.seq}")
            for after in row.path:
                if (state, after) not in LEGAL:
                    yield InvariantViolation("I17", f"{row.saga_id}: {state} became {after}")
                state = after
            self._heads[row.saga_id] = (row.seq, state)
            saga = self._world.table(ORCHESTRATOR, "saga").get(row.saga_id)
            if saga is None or (saga.version == row.seq and saga.state != state):
                yield InvariantViolation(
                    "I17", f"{row.saga_id}: history ends in {state}, the saga says otherwise"
                )
        applied = Counter((row.saga_id, row.event_id) for row in events.values())
        for (saga_id, event_id), times in applied.items():
            if times > 1:
                yield InvariantViolation("I16", f"{saga_id}: {event_id} was applied {times} times")


def charged_twice(world: World) -> Iterator[InvariantViolation]:
    """I04: no saga is charged twice, under any key."""
    charges = Counter(e.saga_id for e in world.provider.ledger if e.kind == "charge" and e.ok)
    for saga_id, count in charges.items():
        if count > 1:
            yield InvariantViolation("I04", f"{saga_id} was charged {count} times")


def oversold(world: World) -> Iterator[InvariantViolation]:
    """I07: stock is never negative, and never more is sold than there was."""
    for row in world.table(INVENTORY, "stock").values():
        if row.on_hand < 0 or row.reserved < 0 or row.sold > row.initial:
            yield InvariantViolation("I07", f"{row}")


def left_standing(world: World) -> Iterator[InvariantViolation]:
    """I12 and I02, at every moment: of a FAILED saga no step stands, and the provider holds no money."""
    failed = {saga_id for saga_id, saga in sagas(world).items() if saga.state == "FAILED"}
    if not failed:
        return
    for service in PARTICIPANTS:
        for (saga_id, step), fence in world.table(service, "fence").items():
            if saga_id in failed and fence.state in STANDING:
                yield InvariantViolation("I12", f"{saga_id} is FAILED, {step} is {fence.state}")
    net = _net(world)
    for saga_id in failed:
        if net[saga_id]:
            yield InvariantViolation("I02", f"{saga_id} is FAILED, the provider holds {net[saga_id]}")


def _net(world: World) -> Counter[str]:
    net: Counter[str] = Counter()
    for entry in world.provider.ledger:
        if entry.ok:
            net[entry.saga_id] += entry.amount_minor if entry.kind == "charge" else -entry.amount_minor
    return net


def settled(world: World) -> list[InvariantViolation]:
    """Return what is broken in a world at rest; anything unfinished is a violation, too."""
    unaccepted = list(begun_by_nobody(world))
    if unaccepted:
        return unaccepted
    checks = (
        parked,
        unfinished,
        money,
        payments_agree,
        stock_conserved,
        reservations,
        orders,
        fences,
        carts,
        shoppers_told_once,
        gateway_says_so,
    )
    return [violation for check in checks for violation in check(world)]


def is_quiet(world: World) -> bool:
    """Tell whether nothing is unfinished."""
    return not any(True for _ in unfinished(world))


def sagas(world: World) -> dict[str, SagaInstance]:
    return world.table(ORCHESTRATOR, "saga")


def begun_by_nobody(world: World) -> Iterator[InvariantViolation]:
    """I29: no saga without a checkout row at the gateway, which says what was bought."""
    for saga_id in sorted(sagas(world).keys() - world.shoppers.checkouts().keys()):
        yield InvariantViolation("I29", f"{saga_id} was begun, {GATEWAY} never accepted it")


def unfinished(world: World) -> Iterator[InvariantViolation]:
    """I11: name every unfinished checkout, outbox row, timer, fence and consumer group."""
    by_id = sagas(world)
    for saga_id, checkout in world.shoppers.checkouts().items():
        saga = by_id.get(saga_id)
        if saga is None or saga.state not in CHECKOUT.terminal:
            yield InvariantViolation(
                "I11", f"{saga_id} is {saga.state if saga else 'unknown'}: {saga and saga.owed}"
            )
        elif not checkout.is_terminal:
            yield InvariantViolation("I11", f"the gateway never heard the end of {saga_id}")
    for service, store in world.stores.items():
        tables = store.tables.tables
        for batch in tables.get("outbox", {}).values():
            yield InvariantViolation(
                "I11", f"{service}'s outbox still holds {[dict(m.headers)['ce_id'] for m in batch[1]]}"
            )
        for timer in tables.get("timers", {}):
            yield InvariantViolation("I11", f"{service} still waits for {timer}")
    for service in PARTICIPANTS:
        for (saga_id, step), row in world.table(service, "fence").items():
            if row.state in ("RUNNING", "UNDOING") or (row.state == "DONE" and AT_REST[step] != "DONE"):
                yield InvariantViolation("I11", f"{step} of {saga_id} is still {row.state}")
    for lag in world.lag():
        yield InvariantViolation("I11", lag)


def parked(world: World) -> Iterator[InvariantViolation]:
    """I15: exactly what cannot be processed is parked, with a copy among the dead letters."""
    for service, store in world.stores.items():
        for position, row in store.tables.tables.get("parked", {}).items():
            expected = world.expected_parks.get(position)
            if expected is None or (expected.service, expected.reason) != (service, row.reason):
                detail = f"{service} parked {row.message_id}: {row.reason}: {row.detail}"
                yield InvariantViolation("I15", detail)
    if not world.expected_parks:
        return
    copied = {position for position, _ in dead_letters(world)}
    lost = {observed.what for observed in world.observed if observed.outcome == "lose"}
    for position, park in world.expected_parks.items():
        if position not in world.table(park.service, "parked"):
            yield InvariantViolation("I15", f"{park.service} never parked {park.message_id} at {position}")
        elif str(position) not in copied and park.message_id not in lost:
            yield InvariantViolation("I15", f"{park.service} parked {park.message_id} without a dead letter")


def dead_letters(world: World) -> Iterator[tuple[str, int]]:
    """Return for each dead letter the position of its message, and how often it was tried."""
    for topic_partition, records in world.bus.state.log.items():
        if topic_partition.topic in DEAD_LETTERS:
            for record in records:
                said = {name: value.decode() for name, value in record.headers if name.startswith("x-")}
                position = "/".join(said[f"x-original-{part}"] for part in ("topic", "partition", "offset"))
                yield position, int(said["x-attempts"])


def money(world: World) -> Iterator[InvariantViolation]:
    """I01, I02 and I05: the provider holds the totals of the completed sagas, for each saga and in sum."""
    net = _net(world)
    worth = 0
    for saga_id, saga in sagas(world).items():
        due = world.shoppers.initiated(saga_id).total_minor if saga.state == "COMPLETED" else 0
        worth += due
        if net[saga_id] != due:
            yield InvariantViolation(
                "I02", f"{saga_id} is {saga.state}, the provider holds {net[saga_id]}, not {due}"
            )
        kinds = Counter(e.kind for e in world.provider.ledger if e.ok and e.saga_id == saga_id)
        if saga.state == "COMPLETED" and kinds != Counter(charge=1):
            yield InvariantViolation("I02", f"{saga_id} is COMPLETED after {dict(kinds)}")
    if sum(net.values()) != worth:
        yield InvariantViolation(
            "I01", f"the provider holds {sum(net.values())}, completed sagas are worth {worth}"
        )
    for row in world.table(PAYMENT, "payment").values():
        start = world.shoppers.initiated(row.saga_id)
        priced = sum(line.quantity * PRICES_MINOR[line.sku] for line in start.lines)
        if not row.amount_minor == start.total_minor == priced > 0:
            yield InvariantViolation("I05", f"{row.saga_id} pays {row.amount_minor} for {priced}")


def payments_agree(world: World) -> Iterator[InvariantViolation]:
    """I03: our payment rows and the provider's ledger hold the same charges and refunds."""
    payments = world.table(PAYMENT, "payment")
    for kind, ours in (
        ("charge", {s: row.charge_id for s, row in payments.items() if row.charge_id}),
        ("refund", {s: row.refund_id for s, row in payments.items() if row.refund_id}),
    ):
        theirs = {e.saga_id: e.reference for e in world.provider.ledger if e.ok and e.kind == kind}
        for saga_id in sorted(ours.keys() | theirs.keys()):
            if ours.get(saga_id) != theirs.get(saga_id):
                detail = f"{kind} of {saga_id}: we say {ours.get(saga_id)}, they say {theirs.get(saga_id)}"
                yield InvariantViolation("I03", detail)


def stock_conserved(world: World) -> Iterator[InvariantViolation]:
    """I06: stock adds up, and equals what reservations hold and what was sold."""
    held = _pieces(world, "DONE")
    sold = _pieces(world, "CONFIRMED")
    for sku, row in world.table(INVENTORY, "stock").items():
        if row.on_hand + row.reserved + row.sold != row.initial:
            yield InvariantViolation("I06", f"{row} does not add up")
        if row.reserved != held[sku] or row.sold != sold[sku]:
            yield InvariantViolation("I06", f"{row}, but reservations hold {held[sku]} and sold {sold[sku]}")


def _pieces(world: World, state: str) -> Counter[str]:
    fences, moves = world.table(INVENTORY, "fence"), world.table(INVENTORY, "stock_movement")
    total: Counter[str] = Counter()
    for (saga_id, _), fence in fences.items():
        if fence.state == state:
            total.update(dict(moves[saga_id, "reserve"].pieces) if (saga_id, "reserve") in moves else {})
    return total


def reservations(world: World) -> Iterator[InvariantViolation]:
    """I08: reservations of completed sagas are sold, of failed ones released, and none is without a saga."""
    moves = world.table(INVENTORY, "stock_movement")
    for saga_id, saga in sagas(world).items():
        made = {direction for (of, direction) in moves if of == saga_id}
        wanted = {"reserve", "sell"} if saga.state == "COMPLETED" else {"reserve", "release"}
        if made != wanted and (made or saga.state == "COMPLETED"):
            yield InvariantViolation(
                "I08", f"{saga_id} is {saga.state}, its stock was moved by {sorted(made)}"
            )
        bought = _bought(world, saga_id)
        for direction in made:
            if dict(moves[saga_id, direction].pieces) != bought:
                yield InvariantViolation(
                    "I08", f"{saga_id}: {direction} moved {moves[saga_id, direction].pieces}"
                )
    for saga_id, direction in moves:
        if saga_id not in sagas(world):
            yield InvariantViolation("I08", f"{direction} of {saga_id}, which nobody knows")


def orders(world: World) -> Iterator[InvariantViolation]:
    """I09 and I10: a placed order, equal to its snapshot, for each completed saga and no other."""
    by_saga = world.table(ORDER, "orders")
    for saga_id, saga in sagas(world).items():
        order = by_saga.get(saga_id)
        status = order.status if order else "none"
        if (status == "PLACED") != (saga.state == "COMPLETED") or status == "PENDING":
            yield InvariantViolation("I09", f"{saga_id} is {saga.state}, its order is {status}")
        start = world.shoppers.initiated(saga_id)
        snapshot = (start.lines, start.total_minor, start.user_id)
        if order and (order.lines, order.total_minor, order.user_id) != snapshot:
            yield InvariantViolation("I10", f"{saga_id}: the order is {order}")


def fences(world: World) -> Iterator[InvariantViolation]:
    """I12 and I13: of a failed saga no step stands, of a completed one all are confirmed (cart: done)."""
    for saga_id, saga in sagas(world).items():
        states: dict[str, Any] = {
            step: row.state
            for service in PARTICIPANTS
            for (of, step), row in world.table(service, "fence").items()
            if of == saga_id
        }
        if saga.state == "FAILED":
            for step, state in states.items():
                if state in STANDING:
                    yield InvariantViolation("I12", f"{saga_id} is FAILED, {step} is {state}")
        elif states != AT_REST:
            yield InvariantViolation("I13", f"{saga_id} is {saga.state}, its steps are {states}")


def carts(world: World) -> Iterator[InvariantViolation]:
    """I14: a cart lost the snapshot's pieces if and only if its saga completed; later additions stay."""
    log = world.table(CART, "clear_log")
    for saga_id, saga in sagas(world).items():
        if (saga.state == "COMPLETED") != (saga_id in log):
            yield InvariantViolation("I14", f"{saga_id} is {saga.state}, cart cleared: {saga_id in log}")
    for saga_id, clearance in log.items():
        start = world.shoppers.initiated(saga_id)
        if (clearance.cart_id, clearance.user_id) != (start.cart_id, start.user_id):
            yield InvariantViolation("I14", f"{saga_id} cleared {clearance.cart_id} of {clearance.user_id}")
        if {sku: n for sku, _, n in clearance.taken} != _bought(world, saga_id):
            yield InvariantViolation("I14", f"{saga_id} took {clearance.taken} out of its cart")
    left = Counter(world.added)
    for saga_id in log:
        cart_id = world.shoppers.initiated(saga_id).cart_id
        left.subtract({(cart_id, sku): n for sku, n in _bought(world, saga_id).items()})
    there = Counter({(c.cart_id, sku): n for c in world.table(CART, "cart").values() for sku, n in c.pieces})
    if there != left:
        yield InvariantViolation("I14", f"carts hold {dict(there)}, they should hold {dict(left)}")


def _bought(world: World, saga_id: str) -> dict[str, int]:
    return {line.sku: line.quantity for line in world.shoppers.initiated(saga_id).lines}


def shoppers_told_once(world: World) -> Iterator[InvariantViolation]:
    """I19 and I21: one key has one checkout, and every accepted checkout has a saga."""
    for contradiction in world.shoppers.contradictions:
        yield InvariantViolation("I19", contradiction)
    for number, saga_id in world.shoppers.accepted.items():
        if saga_id not in sagas(world):
            yield InvariantViolation("I21", f"key-{number} was answered with {saga_id}, which is nowhere")


def gateway_says_so(world: World) -> Iterator[InvariantViolation]:
    """I29: the gateway's status of a checkout is its saga's state."""
    checkouts = world.shoppers.checkouts()
    for saga_id, saga in sagas(world).items():
        status = checkouts[saga_id].status
        if status != saga.state:
            yield InvariantViolation("I29", f"{saga_id} is {saga.state}, {GATEWAY} says {status}")
