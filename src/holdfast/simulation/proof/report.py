"""A finding of the search for people: its moves in words, and as a sequence diagram."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from holdfast.simulation.proof.space import SearchMove, Space, State
from holdfast.simulation.story import arrow, by_name, note, plain, sequence_diagram


class Finding(NamedTuple):
    """What is wrong, and the moves that led there from the start: in words, and as a diagram."""

    what: str
    story: list[str]
    diagram: str = ""

    @property
    def faults(self) -> int:
        """How many of the moves are faults."""
        return sum("[" in line for line in self.story)


def make_finding(space: Space, state: State, what: str, search_moves: Sequence[SearchMove]) -> Finding:
    """Make the finding `what` from the moves that led to it from `state`."""
    story = []
    for search_move in search_moves:
        story.append(next(words for words, each in named(space, state) if each == search_move))
        state = space.after(state, *search_move)
    names = [model.name for model in space.models]
    lines = [line for search_move in search_moves for line in _lines(space, names, search_move)]
    broken = [note(names[-1], plain(what, space.names))]
    return Finding(by_name(what, space.names), story, sequence_diagram(names, lines, broken))


def named(space: Space, state: State) -> Iterator[tuple[str, SearchMove]]:
    """Name each possible move differently: `label [fault] #2` is the second of that name."""
    seen: Counter[str] = Counter()
    for search_move in space.options(state):
        words = by_name(search_move.move.label, space.names)
        if search_move.move.fault:
            words += f" [{search_move.move.fault}]"
        seen[words] += 1
        yield (words if seen[words] == 1 else f"{words} #{seen[words]}"), search_move


def _lines(space: Space, names: list[str], search_move: SearchMove) -> Iterator[str]:
    """Draw messages as arrows, and moves that are faults or send nothing as notes."""
    model_index, move = search_move
    in_flight, label = space.models[0].in_flight, plain(move.label, space.names)
    if model_index == len(names):
        yield from (note(names[reader], label) for reader, _ in move.sends)
        return
    who = names[model_index]
    if move.fault or not move.sends:
        what = label.removeprefix(f"{who} ")
        yield note(who, f"{what}, {move.fault}" if move.fault else what)
    sent = [("", batch) for _, batch in move.sends]
    for outcome, batch in (*sent, ("lose", move.lost), *(("delay", batch) for batch in move.late)):
        for message in batch:
            reader, _ = in_flight.routes[message]
            yield arrow(who, names[reader], plain(in_flight.name_of(message), space.names), outcome)
