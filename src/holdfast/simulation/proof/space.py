"""A small world as a whole: what can happen in it next, and what it is after that.

Knows nothing of what the cells are.
"""

from collections.abc import Iterator, Sequence
from itertools import chain, product
from typing import Any, NamedTuple, Protocol

from holdfast.simulation.proof.service_models import Batch, Move, Moves, Numbers, ServiceModel

State = tuple[int, ...]
"""One number a cell, and one for the batches that are on their way."""


class System(Protocol):
    """What is searched: cells, and what must hold over them."""

    @property
    def models(self) -> Sequence[ServiceModel]:
        """The cells, in the order of a state's numbers."""

    @property
    def sagas(self) -> tuple[str, ...]:
        """The ids of its sagas."""

    def start(self) -> State:
        """Return the state in which everything begins, with nothing on its way (0)."""

    def safety(self, state: State) -> str:
        """Name what must never be and is, or nothing. Called for every state: quick."""

    def held(self, model_index: int, node: int) -> frozenset[str]:
        """Return what a cell's node holds against the others.

        Two cells together can break `safety` only by this, and the more is held, the more is broken.
        """

    def rest(self, state: State) -> tuple[bool, str]:
        """Look at a state in which nothing moves: is it the end, and what is broken in it."""


class SearchMove(NamedTuple):
    """One thing that happens: at the cell of this place, or, at the last place, an arrival."""

    model_index: int
    move: Move


class Space:
    """The moves of all cells, and of what is on its way between them."""

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
        """Return what each cell can do without a fault."""
        return [model.moves(node) for model, node in zip(self.models, state, strict=False)]

    def options(self, state: State) -> Iterator[SearchMove]:
        """List all that can happen: first what needs no fault."""
        moves_by_model = self.moves(state)
        is_calm = not any(moves.busy for moves in moves_by_model)
        for model_index, moves in enumerate(moves_by_model):
            for move in (*moves.busy, *moves.ambient, *(moves.idle if is_calm else ())):
                yield SearchMove(model_index, move)
        for move in self.arriving(state[-1]):
            yield SearchMove(len(self.models), move)
        for model_index, model in enumerate(self.models):
            faults = model.faults(state[model_index])
            for move in (*faults.at_will, *(faults.idle if is_calm else ())):
                yield SearchMove(model_index, move)

    def after(self, state: State, model_index: int, move: Move) -> State:
        """Return the state that a move leads to."""
        after = list(state)
        after[model_index] = move.node
        for reader, batch in move.sends:
            after[reader] = self.models[reader].accept(after[reader], batch)
        if move.late:
            after[-1] = self._also_later(after[-1], move.late)
        return tuple(after)

    def arriving(self, number: int) -> list[Move]:
        """List what can arrive."""
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
        """Return a busy cell that can move while all others wait: what it takes leads to nothing they see."""
        return next((i for i, m in enumerate(moves_by_model) if m.busy and self.models[i].is_sink), None)

    def first(self, state: State, moves_by_model: list[Moves]) -> int | None:
        """Return a cell whose one move can be made before all others, where no faults are left.

        A persistent set of one move (Godefroid, Partial-Order Methods, 1996). All that the cell can do now is
        to take the first message of its only lane. Nobody else can change that: others only append to the
        lane, what happens by time waits for it, and larger batches do the same (`unlike` compares). So in
        every run this move comes some time, and could as well come first: the same ends are reached. In the
        states that are left out the cell stands where it stood before the move: no violation is missed if
        the move takes away nothing that the cell holds against others. Each such move shortens a lane that
        only others lengthen, so nobody is put off for ever.
        """
        for model_index, moves in enumerate(moves_by_model):
            if len(moves.busy) == 1 and not moves.ambient:
                known = self._alone.get((model_index, state[model_index]))
                if known is None:
                    known = self._alone[model_index, state[model_index]] = self._can_be_first(
                        model_index, state[model_index]
                    )
                if known:
                    return model_index
        return None

    def unlike(self) -> Iterator[str]:
        """Name batches that do not do what their messages do one by one, where `first` relied on that."""
        first: dict[Any, None] = {}
        for (model_index, number), alone in self._alone.items():
            if alone:
                db, lanes, memory = self.models[model_index].nodes.values[number]
                first[model_index, db, memory, lanes[0][0]] = None
        for model_index, db, memory, message in first:
            model = self.models[model_index]
            read = [
                number for number, (reader, _) in enumerate(model.in_flight.routes) if reader == model_index
            ]
            for batch in chain(product((message,), read), product((message,), read, read)):
                if not model.folds(db, memory, batch):
                    yield f"{model.name} takes {' and '.join(map(model.in_flight.name_of, batch))}"

    def _can_be_first(self, model_index: int, number: int) -> bool:
        model = self.models[model_index]
        (move,) = model.moves(number).busy
        lanes = model.nodes.values[number].lanes
        if len(lanes) != 1 or not lanes[0]:
            return False
        return self.system.held(model_index, number) <= self.system.held(model_index, move.node)

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
