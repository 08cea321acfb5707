"""A service model: one service as an immutable value, and the moves that its real code makes of it.

The faults of a move (message lost, repeated, cut short by a crash) are made here, for every service.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import Any, NamedTuple

Lanes = tuple[tuple[int, ...], ...]
Batch = tuple[int, ...]


class Node(NamedTuple):
    """A database, the messages that wait for the service (`lanes`), and the process's memory."""

    db: Hashable
    lanes: Lanes
    memory: Hashable = ()


class Move(NamedTuple):
    """One thing that can happen to a service: `fault` is its kind, empty if it needs no fault.

    `sends`: (reader, messages in order); `late`: batches that arrive some time; `lost`: what never arrives;
    `broken`: what it violates.
    """

    label: str
    fault: str
    node: int
    sends: tuple[tuple[int, Batch], ...] = ()
    late: tuple[Batch, ...] = ()
    broken: tuple[str, ...] = ()
    lost: Batch = ()


class Moves(NamedTuple):
    """What can happen at a node. `ambient` moves may never happen; `idle` ones happen by time.

    That time comes when no service has a `busy` move.
    """

    busy: tuple[Move, ...]
    ambient: tuple[Move, ...]
    idle: tuple[Move, ...]


class Faults(NamedTuple):
    """What can go wrong at a node: at any time, and (`idle`) in what happens by time."""

    at_will: tuple[Move, ...]
    idle: tuple[Move, ...]


class ModelStep(NamedTuple):
    """One committed transaction: the state it leaves, the messages it sends, the records it took."""

    label: str
    db: Hashable
    lanes: Lanes
    memory: Hashable
    messages: tuple[Hashable, ...]
    taken: Batch = ()
    broken: tuple[str, ...] = ()


class Numbers:
    """Values by number; equal values have one number."""

    def __init__(self) -> None:
        self.of: dict[Hashable, int] = {}
        self.values: list[Any] = []

    def number(self, value: Hashable) -> int:
        """Return the number of `value`, a new one for a value never seen."""
        known = self.of.get(value)
        if known is None:
            known = self.of[value] = len(self.values)
            self.values.append(value)
        return known


class MessagesInFlight:
    """Every message that was ever sent, by number; `route` gives its reader and lane, `called` its id."""

    def __init__(self, route: Callable[[Any], tuple[int, int]], called: Callable[[Any], str]) -> None:
        self._numbers = Numbers()
        self._route = route
        self._called = called
        self.routes: list[tuple[int, int]] = []

    def number(self, message: Hashable) -> int:
        """Return a message's number."""
        number = self._numbers.number(message)
        if number == len(self.routes):
            self.routes.append(self._route(message))
        return number

    def message(self, number: int) -> Any:
        """Return a message by its number."""
        return self._numbers.values[number]

    def name_of(self, number: int) -> str:
        """Return a message's id."""
        return self._called(self.message(number))

    def sends(self, batch: Iterable[int]) -> tuple[tuple[int, Batch], ...]:
        """Sort a batch by reader; each reader's messages stay in their order."""
        by_reader: dict[int, Batch] = {}
        for number in batch:
            reader, _ = self.routes[number]
            by_reader[reader] = (*by_reader.get(reader, ()), number)
        return tuple(by_reader.items())


class ServiceModel(ABC):
    """One service. Subclasses say what a batch of records does (`handle`) and what else it can do.

    `is_sink`: what it consumes changes nothing that other services or the safety invariants see.
    """

    is_sink = False

    def __init__(self, name: str, in_flight: MessagesInFlight) -> None:
        self.name = name
        self.in_flight = in_flight
        self.nodes = Numbers()
        self._moves: dict[int, Moves] = {}
        self._faults: dict[int, Faults] = {}
        self._steps: dict[tuple[Hashable, Hashable, Batch], ModelStep] = {}
        self._faulty = False
        self._with: dict[tuple[int, Batch], int] = {}

    # -- what a subclass says

    @abstractmethod
    def handle(self, node: Node, batch: Batch) -> ModelStep:
        """Run the real code on these records; the caller fills in the step's lanes and taken records."""

    def busy(self, node: Node) -> Iterator[Move]:
        """List what else the process could do now."""
        yield from ()

    def ambient(self, node: Node) -> Iterator[Move]:
        """List what can happen at any time and never has to."""
        yield from ()

    def idle(self, node: Node) -> Iterator[Move]:
        """List what happens by time."""
        yield from ()

    def untimely(self, node: Node) -> Iterator[Move]:
        """List moves that are faults in themselves, such as a deadline that fires too early."""
        yield from ()

    def after_crash(self, memory: Hashable) -> Hashable:
        """Return the memory of a process that restarts."""
        return memory

    # -- what the search asks

    def moves(self, number: int) -> Moves:
        """Return what can happen without a fault; computed once for each node."""
        known = self._moves.get(number)
        if known is None:
            node, self._faulty = self.nodes.values[number], False
            known = self._moves[number] = Moves(
                _at_will((*self._deliveries(node), *self.busy(node))),
                _at_will(self.ambient(node)),
                _at_will(self.idle(node)),
            )
        return known

    def faults(self, number: int) -> Faults:
        """Return what can go wrong; computed once for each node."""
        known = self._faults.get(number)
        if known is None:
            node, self._faulty = self.nodes.values[number], True
            at_will = [*self._deliveries(node), *self.busy(node), *self.ambient(node), *self.untimely(node)]
            known = self._faults[number] = Faults(
                _changing(number, at_will), _changing(number, self.idle(node))
            )
        return known

    def accept(self, number: int, batch: Batch) -> int:
        """Return the node with these messages at the end of their lanes."""
        known = self._with.get((number, batch))
        if known is None:
            node: Node = self.nodes.values[number]
            lanes = list(node.lanes)
            for message in batch:
                _, lane = self.in_flight.routes[message]
                lanes[lane] += (message,)
            known = self._with[number, batch] = self.nodes.number(node._replace(lanes=tuple(lanes)))
        return known

    def folds(self, db: Hashable, memory: Hashable, batch: Batch) -> bool:
        """Tell whether a batch does what its messages do one by one, or whether those break something."""
        node = Node(db, (batch,), memory)
        one_by_one = self._one_by_one(node, (0,))
        return bool(one_by_one.broken) or one_by_one == _outcome(self._take(node, 0, batch, ()))

    # -- moves

    def _deliveries(self, node: Node) -> Iterator[Move]:
        """List deliveries of one record, of a whole lane, or of all lanes: a poll may return any of them."""
        waiting = [lane_index for lane_index, lane in enumerate(node.lanes) if lane]
        for lane_index, lane in enumerate(node.lanes):
            if lane:
                yield from self.variants(node, self._take(node, lane_index, lane[:1], lane[1:]))
            if len(lane) > 1:
                yield from self._at_once(node, self._take(node, lane_index, lane, ()), (lane_index,))
                if self._faulty:
                    swapped = self._take(node, lane_index, lane[1:2], (lane[0], *lane[2:]))
                    yield self._move(swapped, "reordered")
        if len(waiting) > 1:
            everything = tuple(message for lane_index in waiting for message in node.lanes[lane_index])
            step = self._handled(node, everything)._replace(
                lanes=tuple(() for _ in node.lanes), taken=everything
            )
            yield from self._at_once(node, step, waiting)

    def _at_once(self, node: Node, step: ModelStep, lane_indexes: Iterable[int]) -> Iterator[Move]:
        """Several records in one transaction; without a fault that is no move of its own.

        It must lead to the same state as one record after the other; if it does not, it is listed.
        """
        if self._faulty or self._one_by_one(node, lane_indexes) != _outcome(step):
            yield from self.variants(node, step, with_delivery_faults=False)

    def _one_by_one(self, node: Node, lane_indexes: Iterable[int]) -> ModelStep:
        """Empty these lanes in transactions of one record each; return the result as one step."""
        whole = ModelStep("", node.db, node.lanes, node.memory, ())
        for lane_index in lane_indexes:
            while lane := whole.lanes[lane_index]:
                step = self._take(Node(whole.db, whole.lanes, whole.memory), lane_index, lane[:1], lane[1:])
                messages, broken = whole.messages + step.messages, whole.broken + step.broken
                whole = _outcome(step)._replace(messages=messages, broken=broken)
        return whole

    def _take(self, node: Node, lane_index: int, batch: Batch, rest: Batch) -> ModelStep:
        lanes = (*node.lanes[:lane_index], rest, *node.lanes[lane_index + 1 :])
        return self._handled(node, batch)._replace(lanes=lanes, taken=batch)

    def _handled(self, node: Node, batch: Batch) -> ModelStep:
        key = (node.db, node.memory, batch)
        known = self._steps.get(key)
        if known is None:
            known = self._steps[key] = self.handle(node, batch)
        return known

    def variants(self, node: Node, step: ModelStep, *, with_delivery_faults: bool = True) -> Iterator[Move]:
        """List the results of one transaction: done, or with a delivery fault, crash or zombie after it."""
        if not self._faulty:
            yield self._move(step, "")
            return
        sent = tuple(self.in_flight.number(message) for message in step.messages)
        if with_delivery_faults:
            yield from self._delivery_faults(step, sent)
        crashed = step._replace(memory=self.after_crash(step.memory))
        again = step._replace(lanes=node.lanes)
        crashed_again = crashed._replace(lanes=node.lanes)
        silent = crashed._replace(messages=())
        silent_again = silent._replace(lanes=node.lanes)
        stale = (sent,) if sent else ()
        if sent:
            yield self._move(silent, "crash after offsets, before publish", stale)
            yield self._move(crashed, "crash after publish, before mark", stale)
        yield self._move(silent_again, "crash after commit, before publish", stale)
        yield self._move(again._replace(messages=()), "commit done, reported failed", stale)
        if step.taken:
            yield self._move(crashed_again, "crash after mark, before offsets")
            yield self._move(crashed_again, "crash after publish, before mark and offsets", stale)
            yield self._move(step, "zombie worker", (step.taken,))

    def _delivery_faults(self, step: ModelStep, sent: Batch) -> Iterator[Move]:
        number = self.nodes.number(Node(step.db, step.lanes, step.memory))
        for lane_index, message in enumerate(sent):
            rest = self.in_flight.sends(sent[:lane_index] + sent[lane_index + 1 :])
            yield Move(step.label, "message lost", number, rest, (), step.broken, (message,))
            yield Move(step.label, "message delayed", number, rest, ((message,),), step.broken)
            whole = self.in_flight.sends(sent)
            yield Move(step.label, "message repeated", number, whole, ((message,),), step.broken)

    def _move(self, step: ModelStep, fault: str, late: tuple[Batch, ...] = ()) -> Move:
        number = self.nodes.number(Node(step.db, step.lanes, step.memory))
        sent = self.in_flight.sends(self.in_flight.number(message) for message in step.messages)
        return Move(step.label, fault, number, sent, late, step.broken)


def _outcome(step: ModelStep) -> ModelStep:
    """Leave out the label and the records taken."""
    return step._replace(label="", taken=())


def _at_will(moves: Iterable[Move]) -> tuple[Move, ...]:
    return tuple(dict.fromkeys(move for move in moves if not move.fault))


def _changing(number: int, moves: Iterable[Move]) -> tuple[Move, ...]:
    """Leave out moves without a fault, and faults that change nothing, send nothing and break nothing."""
    changing = (m for m in moves if m.fault and (m.node != number or m.late or m.sends or m.broken))
    return tuple(dict.fromkeys(changing))
