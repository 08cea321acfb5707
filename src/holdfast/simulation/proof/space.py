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
    def cells(self) -> Sequence[ServiceModel]:
        """The cells, in the order of a state's numbers."""

    @property
    def sagas(self) -> tuple[str, ...]:
        """The ids of its sagas."""

    def start(self) -> State:
        """Return the state in which everything begins, with nothing on its way (0)."""

    def safety(self, state: State) -> str:
        """Name what must never be and is, or nothing. Called for every state: quick."""

    def held(self, place: int, node: int) -> frozenset[str]:
        """Return what a cell's node holds against the others.

        Two cells together can break `safety` only by this, and the more is held, the more is broken.
        """

    def rest(self, state: State) -> tuple[bool, str]:
        """Look at a state in which nothing moves: is it the end, and what is broken in it."""


class SearchMove(NamedTuple):
    """One thing that happens: at the cell of this place, or, at the last place, an arrival."""

    place: int
    move: Move


class Space:
    """The moves of all cells, and of what is on its way between them."""

    def __init__(self, system: System) -> None:
        self.system = system
        self.cells = system.cells
        self.names = {saga_id: f"saga {number}" for number, saga_id in enumerate(system.sagas, start=1)}
        self._on_its_way = Numbers()
        self._on_its_way.number(())
        self._later: dict[tuple[int, tuple[Batch, ...]], int] = {}
        self._arrivals: dict[int, list[Move]] = {}
        self._alone: dict[tuple[int, int], bool] = {}

    def moves(self, state: State) -> list[Moves]:
        """Return what each cell can do without a fault."""
        return [cell.moves(node) for cell, node in zip(self.cells, state, strict=False)]

    def options(self, state: State) -> Iterator[SearchMove]:
        """List all that can happen: first what needs no fault."""
        of_cells = self.moves(state)
        calm = not any(moves.busy for moves in of_cells)
        for place, moves in enumerate(of_cells):
            for move in (*moves.busy, *moves.ambient, *(moves.idle if calm else ())):
                yield SearchMove(place, move)
        for move in self.arriving(state[-1]):
            yield SearchMove(len(self.cells), move)
        for place, cell in enumerate(self.cells):
            faults = cell.faults(state[place])
            for move in (*faults.at_will, *(faults.idle if calm else ())):
                yield SearchMove(place, move)

    def after(self, state: State, place: int, move: Move) -> State:
        """Return the state that a move leads to."""
        after = list(state)
        after[place] = move.node
        for reader, batch in move.sends:
            after[reader] = self.cells[reader].accept(after[reader], batch)
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

    def sink(self, of_cells: list[Moves]) -> int | None:
        """Return a busy cell that can move while all others wait: what it takes leads to nothing they see."""
        return next((i for i, m in enumerate(of_cells) if m.busy and self.cells[i].is_sink), None)

    def first(self, state: State, of_cells: list[Moves]) -> int | None:
        """Return a cell whose one move can be made before all others, where no faults are left.

        A persistent set of one move (Godefroid, Partial-Order Methods, 1996). All that the cell can do now is
        to take the first message of its only lane. Nobody else can change that: others only append to the
        lane, what happens by time waits for it, and larger batches do the same (`unlike` compares). So in
        every run this move comes some time, and could as well come first: the same ends are reached. In the
        states that are left out the cell stands where it stood before the move: no violation is missed if
        the move takes away nothing that the cell holds against others. Each such move shortens a lane that
        only others lengthen, so nobody is put off for ever.
        """
        for place, moves in enumerate(of_cells):
            if len(moves.busy) == 1 and not moves.ambient:
                known = self._alone.get((place, state[place]))
                if known is None:
                    known = self._alone[place, state[place]] = self._can_be_first(place, state[place])
                if known:
                    return place
        return None

    def unlike(self) -> Iterator[str]:
        """Name batches that do not do what their messages do one by one, where `first` relied on that."""
        first: dict[Any, None] = {}
        for (place, number), alone in self._alone.items():
            if alone:
                db, lanes, memory = self.cells[place].nodes.values[number]
                first[place, db, memory, lanes[0][0]] = None
        for place, db, memory, message in first:
            cell = self.cells[place]
            read = [number for number, (reader, _) in enumerate(cell.post.routes) if reader == place]
            for batch in chain(product((message,), read), product((message,), read, read)):
                if not cell.folds(db, memory, batch):
                    yield f"{cell.name} takes {' and '.join(map(cell.post.name_of, batch))}"

    def _can_be_first(self, place: int, number: int) -> bool:
        cell = self.cells[place]
        (move,) = cell.moves(number).busy
        lanes = cell.nodes.values[number].lanes
        if len(lanes) != 1 or not lanes[0]:
            return False
        return self.system.held(place, number) <= self.system.held(place, move.node)

    def _arrival(self, batch: Batch, rest: int) -> Move:
        post = self.cells[0].post
        names = " and ".join(post.name_of(message) for message in batch)
        return Move(f"{names} {'arrives' if len(batch) == 1 else 'arrive'} late", "", rest, post.sends(batch))

    def _also_later(self, number: int, batches: tuple[Batch, ...]) -> int:
        known = self._later.get((number, batches))
        if known is None:
            there = tuple(sorted((*self._on_its_way.values[number], *batches)))
            known = self._later[number, batches] = self._on_its_way.number(there)
        return known
