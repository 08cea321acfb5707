"""A small world as a whole: what can happen in it next, and what it is after that.

It knows nothing of what the services do.
"""

from collections.abc import Iterator, Sequence
from itertools import chain, product
from typing import Any, NamedTuple, Protocol

from holdfast.simulation.proof.service_models import Batch, Move, Moves, Numbers, ServiceModel

State = tuple[int, ...]
"""The node number of each service model, then one number for the batches that arrive late."""


class System(Protocol):
    """What is searched: service models, and what must hold over them."""

    @property
    def models(self) -> Sequence[ServiceModel]:
        """The service models, in the order of a state's numbers."""

    @property
    def sagas(self) -> tuple[str, ...]:
        """The ids of its sagas."""

    def start(self) -> State:
        """Return the first state, in which no batch arrives late (last number 0)."""

    def safety(self, state: State) -> str:
        """Name what is broken in this state, or return "". Called for every state, so it must be fast."""

    def held(self, index: int, node: int) -> frozenset[str]:
        """Return the sagas that this node holds something for, such as a step that is done.

        Two models together can break `safety` only by these sets, and a larger set breaks no less.
        """

    def rest(self, state: State) -> tuple[bool, str]:
        """Tell of a state in which nothing moves whether it is an end, and what is broken in it."""


class SearchMove(NamedTuple):
    """A move of the model of this index; an index after the last model is a late arrival."""

    model_index: int
    move: Move


class Space:
    """The moves of all service models, and the late arrivals between them."""

    def __init__(self, system: System) -> None:
        self.system = system
        self.models = system.models
        self.names = {saga_id: f"saga {number}" for number, saga_id in enumerate(system.sagas, start=1)}
        self._on_its_way = Numbers()
        self._on_its_way.number(())
        self._later: dict[tuple[int, tuple[Batch, ...]], int] = {}
        self._arrivals: dict[int, list[Move]] = {}
        self._alone: dict[tuple[int, int], bool] = {}

    def moves(self, state: State) -> list[Moves]:
        """Return what each model can do without a fault."""
        return [model.moves(node) for model, node in zip(self.models, state, strict=False)]

    def options(self, state: State) -> Iterator[SearchMove]:
        """List all that can happen: first what needs no fault."""
        moves_by_model = self.moves(state)
        calm = not any(moves.busy for moves in moves_by_model)
        for index, moves in enumerate(moves_by_model):
            for move in (*moves.busy, *moves.ambient, *(moves.idle if calm else ())):
                yield SearchMove(index, move)
        for move in self.arriving(state[-1]):
            yield SearchMove(len(self.models), move)
        for index, model in enumerate(self.models):
            faults = model.faults(state[index])
            for move in (*faults.at_will, *(faults.idle if calm else ())):
                yield SearchMove(index, move)

    def after(self, state: State, index: int, move: Move) -> State:
        """Return the state that a move leads to."""
        after = list(state)
        after[index] = move.node
        for reader, batch in move.sends:
            after[reader] = self.models[reader].accept(after[reader], batch)
        if move.late:
            after[-1] = self._also_later(after[-1], move.late)
        return tuple(after)

    def arriving(self, number: int) -> list[Move]:
        """List what can arrive late."""
        known = self._arrivals.get(number)
        if known is None:
            there: tuple[Batch, ...] = self._on_its_way.values[number]
            known = self._arrivals[number] = [
                self._arrival(batch, self._on_its_way.number(there[:i] + there[i + 1 :]))
                for i, batch in enumerate(there)
                if batch not in there[:i]
            ]
        return known

    def sink(self, moves_by_model: list[Moves]) -> int | None:
        """Return a busy sink or None; it can move first, because the others see nothing of it."""
        return next((i for i, m in enumerate(moves_by_model) if m.busy and self.models[i].is_sink), None)

    def first(self, state: State, moves_by_model: list[Moves]) -> int | None:
        """Return a model whose one move can be made before all others, if no faults are left.

        A persistent set of one move (Godefroid, Partial-Order Methods, 1996). All that the model can do now
        is to take the first message of its only lane. No other model can change that: they only append to
        the lane, what happens by time waits for it, and larger batches do the same (`unlike` compares). So
        every run makes this move at some time, and may make it first: the same ends are reached. In the
        states that are left out the model is in its node before the move: no violation is missed if the
        move removes nothing from `held`. Each such move shortens a lane that only other models lengthen,
        so no model waits for ever.
        """
        for index, moves in enumerate(moves_by_model):
            if len(moves.busy) == 1 and not moves.ambient:
                known = self._alone.get((index, state[index]))
                if known is None:
                    known = self._alone[index, state[index]] = self._can_be_first(index, state[index])
                if known:
                    return index
        return None

    def unlike(self) -> Iterator[str]:
        """Name batches that do not do what their messages do one by one although `first` relied on it."""
        first: dict[Any, None] = {}
        for (index, number), alone in self._alone.items():
            if alone:
                db, lanes, memory = self.models[index].nodes.values[number]
                first[index, db, memory, lanes[0][0]] = None
        for index, db, memory, message in first:
            model = self.models[index]
            read = [number for number, (reader, _) in enumerate(model.in_flight.routes) if reader == index]
            for batch in chain(product((message,), read), product((message,), read, read)):
                if not model.folds(db, memory, batch):
                    yield f"{model.name} takes {' and '.join(map(model.in_flight.name_of, batch))}"

    def _can_be_first(self, index: int, number: int) -> bool:
        model = self.models[index]
        (move,) = model.moves(number).busy
        lanes = model.nodes.values[number].lanes
        if len(lanes) != 1 or not lanes[0]:
            return False
        return self.system.held(index, number) <= self.system.held(index, move.node)

    def _arrival(self, batch: Batch, rest: int) -> Move:
        in_flight = self.models[0].in_flight
        names = " and ".join(in_flight.name_of(message) for message in batch)
        return Move(
            f"{names} {'arrives' if len(batch) == 1 else 'arrive'} late", "", rest, in_flight.sends(batch)
        )

    def _also_later(self, number: int, batches: tuple[Batch, ...]) -> int:
        known = self._later.get((number, batches))
        if known is None:
            there = tuple(sorted((*self._on_its_way.values[number], *batches)))
            known = self._later[number, batches] = self._on_its_way.number(there)
        return known
