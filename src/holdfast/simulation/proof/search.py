"""All states that a small world can come to: safety in each, and an end that each can come to without faults.

A state is one number a cell and one for what is on its way. Knows nothing of what the cells are.
"""

from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from holdfast.simulation.proof.cells import Batch, Cell, Move, Numbers

State = tuple[int, ...]


class System(Protocol):
    """A small world. The last number of a state is of the batches that are on their way."""

    @property
    def cells(self) -> Sequence[Cell]:
        """The cells, in the order of a state's numbers."""

    def start(self) -> State:
        """Return the state in which everything begins, with nothing on its way (0)."""

    def safety(self, state: State) -> str:
        """Name what must never be and is, or nothing. Called for every state: quick."""

    def rest(self, state: State) -> tuple[bool, str]:
        """Look at a state in which nothing moves: is it the end, and what is broken in it."""


class Finding(NamedTuple):
    """What is wrong, and the moves that led there, from the beginning."""

    what: str
    story: list[str]


@dataclass
class Report:
    """What a search saw. `states` are distinct; `fired` counts moves by kind of fault."""

    scope: str
    states: int = 0
    moves: int = 0
    ends: int = 0
    fired: Counter[str] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)
    seconds: float = 0.0


class Search:
    """Layer by layer: first what needs no fault, then what one more fault opens.

    A state is looked at once, where it is reached with the fewest faults: whatever can happen to it with
    fewer left could happen there, too. So each state is expanded with the largest budget that it can have.
    """

    def __init__(self, system: System, faults_max: int, findings_max: int = 1) -> None:
        self._system = system
        self._cells = system.cells
        self._faults_max = faults_max
        self._findings_max = findings_max
        self._on_its_way = Numbers()
        self._on_its_way.number(())
        self._later: dict[tuple[int, tuple[Batch, ...]], int] = {}
        self._arrivals: dict[int, list[tuple[Batch, int]]] = {}
        self._index: dict[State, int] = {}
        self._states: list[State] = []
        self._parents = array("l")
        self._how: list[str] = []
        self._edges = array("L")
        self._offsets = array("L", [0])
        self._ends = bytearray()
        self.report = Report("")

    def run(self) -> Report:
        """Search until nothing new is found, or until there are findings enough."""
        layer: dict[State, tuple[int, str]] = {self._system.start(): (-1, "")}
        done = 0
        for used in range(self._faults_max + 1):
            beyond: dict[State, tuple[int, str]] = {}
            for state, (parent, how) in layer.items():
                self._visit(state, parent, how)
            layer.clear()
            while done < len(self._states):
                if len(self.report.findings) >= self._findings_max:
                    return self.report
                self._expand(done, beyond if used < self._faults_max else None)
                done += 1
            layer = {state: how for state, how in beyond.items() if state not in self._index}
        self._lassos()
        self.report.states = len(self._states)
        self.report.ends = sum(self._ends)
        return self.report

    # -- one state

    def _visit(self, state: State, parent: int, how: str) -> int:
        known = self._index.get(state)
        if known is not None:
            return known
        number = self._index[state] = len(self._states)
        self._states.append(state)
        self._parents.append(parent)
        self._how.append(how)
        self._ends.append(0)
        broken = self._system.safety(state)
        if broken:
            self._found(broken, number)
        return number

    def _expand(self, number: int, beyond: dict[State, tuple[int, str]] | None) -> None:
        state = self._states[number]
        of_cells = [cell.moves(node) for cell, node in zip(self._cells, state, strict=False)]
        calm = not any(moves.busy for moves in of_cells)
        if calm:
            self._look_at_rest(number, state)
        alone = next((i for i, m in enumerate(of_cells) if m.busy and self._cells[i].is_sink), None)
        places = range(len(of_cells)) if alone is None else (alone,)
        for place in places:
            moves = of_cells[place]
            for move in (*moves.busy, *moves.ambient, *(moves.idle if calm else ())):
                self._follow(number, state, place, move)
        for batch, rest in self._arriving(state[-1]) if alone is None else ():
            self._edges.append(self._visit(self._deliver(state, batch, rest), number, "arrives"))
        self._offsets.append(len(self._edges))
        if beyond is not None:
            for place in places:
                cell = self._cells[place]
                faults = cell.faults(state[place])
                self._break(number, state, place, faults.at_will, beyond)
                if calm:
                    self._break(number, state, place, faults.idle, beyond)

    def _follow(self, number: int, state: State, place: int, move: Move) -> None:
        self.report.moves += 1
        there = self._visit(self._after(state, place, move), number, move.label)
        self._edges.append(there)
        for broken in move.broken:
            self._found(broken, there)

    def _break(
        self,
        number: int,
        state: State,
        place: int,
        faults: tuple[Move, ...],
        beyond: dict[State, tuple[int, str]],
    ) -> None:
        fired, index = self.report.fired, self._index
        self.report.moves += len(faults)
        for move in faults:
            fired[move.fault] += 1
            after = self._after(state, place, move)
            if after not in index and after not in beyond:
                beyond[after] = (number, f"{move.label} [{move.fault}]")
            for broken in move.broken:
                self._found(broken, self._visit(after, number, f"{move.label} [{move.fault}]"))

    def _after(self, state: State, place: int, move: Move) -> State:
        after = list(state)
        after[place] = move.node
        for reader, batch in move.sends:
            after[reader] = self._cells[reader].accept(after[reader], batch)
        if move.late:
            after[-1] = self._also_later(after[-1], move.late)
        return tuple(after)

    # -- what is on its way

    def _also_later(self, number: int, batches: tuple[Batch, ...]) -> int:
        known = self._later.get((number, batches))
        if known is None:
            there = tuple(sorted((*self._on_its_way.values[number], *batches)))
            known = self._later[number, batches] = self._on_its_way.number(there)
        return known

    def _arriving(self, number: int) -> list[tuple[Batch, int]]:
        known = self._arrivals.get(number)
        if known is None:
            there: tuple[Batch, ...] = self._on_its_way.values[number]
            known = self._arrivals[number] = [
                (batch, self._on_its_way.number(there[:i] + there[i + 1 :]))
                for i, batch in enumerate(there)
                if batch not in there[:i]
            ]
        return known

    def _deliver(self, state: State, batch: Batch, rest: int) -> State:
        after = list(state)
        after[-1] = rest
        for reader, messages in self._cells[0].post.sends(batch):
            after[reader] = self._cells[reader].accept(after[reader], messages)
        return tuple(after)

    # -- what must hold

    def _look_at_rest(self, number: int, state: State) -> None:
        if state[-1]:
            return
        is_end, broken = self._system.rest(state)
        self._ends[number] = is_end
        if broken:
            self._found(broken, number)

    def _lassos(self) -> None:
        """From each state an end can be reached without faults: walk back from the ends."""
        good = bytearray(self._ends)
        edges, offsets = self._edges, self._offsets
        changed = True
        while changed:
            changed = False
            for number in range(len(good) - 1, -1, -1):
                if not good[number] and any(good[e] for e in edges[offsets[number] : offsets[number + 1]]):
                    good[number] = changed = True
        bad = good.find(0)
        if bad >= 0:
            self._found("I11: from here nothing leads to an end", bad)

    def _found(self, what: str, number: int) -> None:
        if len(self.report.findings) < self._findings_max:
            self.report.findings.append(Finding(what, list(self._story(number))))

    def _story(self, number: int) -> Iterator[str]:
        path = []
        while number > 0:
            path.append(self._how[number])
            number = self._parents[number]
        yield from reversed(path)
