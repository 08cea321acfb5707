"""Visit all states of a small world: each must be safe, and must reach an end without another fault."""

from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from struct import Struct

from holdfast.simulation.proof.report import Finding, make_finding
from holdfast.simulation.proof.service_models import Move
from holdfast.simulation.proof.space import SearchMove, Space, State, System


@dataclass
class SearchReport:
    """What a search saw. `states` are distinct; `fired` counts moves by kind of fault."""

    scope: str
    states: int = 0
    moves: int = 0
    ends: int = 0
    fired: Counter[str] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)
    seconds: float = 0.0
    megabytes: int = 0


class Search:
    """Search layer by layer: first the states that need no fault, then those that need one more.

    A state is expanded once, when it is reached with the fewest faults, so with the largest budget of
    faults left: what a smaller budget allows is a part of that. A state is kept as bytes, and others refer
    to it by its number; the moves that led to it are computed again for a finding. `reduced`: leave out
    orders of events that lead to the same ends.
    """

    def __init__(
        self, system: System, faults_max: int, findings_max: int = 1, *, reduced: bool = True
    ) -> None:
        self._system = system
        self.space = Space(system)
        self._models = system.models
        self._faults_max = faults_max
        self._findings_max = findings_max
        self._reduced = reduced
        self._start: State = system.start()
        self._bytes = Struct(f"={len(self._models) + 1}I")
        self._index: dict[bytes, int] = {}
        self._states: list[bytes] = []
        self._parents = array("i")
        self._edges = array("I")
        self._offsets = array("Q", [0])
        self._is_end = bytearray()
        self.report = SearchReport("")

    def run(self, start: State | None = None) -> SearchReport:
        """Search from `start` until there is no new state, or until there are `findings_max` findings."""
        self._start = start or self._start
        layer = {self._bytes.pack(*self._start): -1}
        done = 0
        for used in range(self._faults_max + 1):
            beyond: dict[bytes, int] = {}
            for packed, parent in layer.items():
                self._visit(packed, parent)
            layer.clear()
            while done < len(self._states):
                if len(self.report.findings) >= self._findings_max:
                    return self.report
                self._expand(done, beyond if used < self._faults_max else None)
                done += 1
            layer = {packed: parent for packed, parent in beyond.items() if packed not in self._index}
        self._check_liveness()
        for unlike in self.space.unlike():
            self._found(f"batches: {unlike}", 0)
        self.report.states = len(self._states)
        self.report.ends = sum(self._is_end)
        return self.report

    def ends(self) -> Iterator[State]:
        """List the states that are ends."""
        for number, is_end in enumerate(self._is_end):
            if is_end:
                yield self._bytes.unpack(self._states[number])

    # -- one state

    def _visit(self, packed: bytes, parent: int) -> int:
        known = self._index.get(packed)
        if known is not None:
            return known
        number = self._index[packed] = len(self._states)
        self._states.append(packed)
        self._parents.append(parent)
        self._is_end.append(0)
        broken = self._system.safety(self._bytes.unpack(packed))
        if broken:
            self._found(broken, number)
        return number

    def _expand(self, number: int, beyond: dict[bytes, int] | None) -> None:
        state: State = self._bytes.unpack(self._states[number])
        moves_by_model = self.space.moves(state)
        calm = not any(moves.busy for moves in moves_by_model)
        if calm:
            self._look_at_rest(number, state)
        alone = self.space.sink(moves_by_model)
        if alone is None and beyond is None and self._reduced:
            alone = self.space.first(state, moves_by_model)
        model_indexes = range(len(moves_by_model)) if alone is None else (alone,)
        for model_index in model_indexes:
            moves = moves_by_model[model_index]
            for move in (*moves.busy, *moves.ambient, *(moves.idle if calm else ())):
                self._follow(number, state, model_index, move)
        for move in self.space.arriving(state[-1]) if alone is None else ():
            self._follow(number, state, len(moves_by_model), move)
        self._offsets.append(len(self._edges))
        if beyond is not None:
            for model_index in model_indexes:
                faults = self._models[model_index].faults(state[model_index])
                self._break(number, state, model_index, faults.at_will, beyond)
                if calm:
                    self._break(number, state, model_index, faults.idle, beyond)

    def _follow(self, number: int, state: State, model_index: int, move: Move) -> None:
        self.report.moves += 1
        there = self._visit(self._bytes.pack(*self.space.after(state, model_index, move)), number)
        self._edges.append(there)
        for broken in move.broken:
            self._found(broken, number, SearchMove(model_index, move))

    def _break(
        self, number: int, state: State, model_index: int, faults: tuple[Move, ...], beyond: dict[bytes, int]
    ) -> None:
        fired, index = self.report.fired, self._index
        self.report.moves += len(faults)
        for move in faults:
            fired[move.fault] += 1
            after = self._bytes.pack(*self.space.after(state, model_index, move))
            if after not in index and after not in beyond:
                beyond[after] = number
            for broken in move.broken:
                self._found(broken, number, SearchMove(model_index, move))

    # -- what must hold

    def _look_at_rest(self, number: int, state: State) -> None:
        if state[-1]:
            return
        is_end, broken = self._system.rest(state)
        self._is_end[number] = is_end
        if broken:
            self._found(broken, number)

    def _check_liveness(self) -> None:
        """Check liveness: each state reaches an end without faults. Walks back from the ends."""
        good = bytearray(self._is_end)
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

    def _found(self, what: str, number: int, *last: SearchMove) -> None:
        if len(self.report.findings) < self._findings_max:
            self.report.findings.append(
                make_finding(self.space, self._start, what, [*self._path(number), *last])
            )

    def _path(self, number: int) -> list[SearchMove]:
        """Return the moves that led to a state, from the start."""
        path = [number]
        while self._parents[path[-1]] >= 0:
            path.append(self._parents[path[-1]])
        states = [self._bytes.unpack(self._states[each]) for each in reversed(path)]
        return [self._between(*both) for both in pairwise(states)]

    def _between(self, before: State, after: State) -> SearchMove:
        options = self.space.options(before)
        return next(each for each in options if self.space.after(before, *each) == after)
