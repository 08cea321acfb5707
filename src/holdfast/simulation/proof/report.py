"""A finding of the search told to people: its moves in words, and as a sequence diagram."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from holdfast.simulation.proof.space import SearchMove, Space, State
from holdfast.simulation.story import arrow, by_name, note, plain, sequence_diagram


class Finding(NamedTuple):
    """What is wrong, and the moves that led there, from the beginning: in words, and drawn."""

    what: str
    story: list[str]
    diagram: str = ""

    @property
    def faults(self) -> int:
        """How many of the moves are faults."""
        return sum("[" in line for line in self.story)


def tell(space: Space, state: State, what: str, turns: Sequence[SearchMove]) -> Finding:
    """Tell of the turns that led from `state` to `what`."""
    story = []
    for turn in turns:
        story.append(next(words for words, each in named(space, state) if each == turn))
        state = space.after(state, *turn)
    names = [cell.name for cell in space.cells]
    lines = [line for turn in turns for line in _lines(space, names, turn)]
    broken = [note(names[-1], plain(what, space.names))]
    return Finding(by_name(what, space.names), story, sequence_diagram(names, lines, broken))


def named(space: Space, state: State) -> Iterator[tuple[str, SearchMove]]:
    """Name all that can happen, each in other words: `label [fault] #2` is the second of that name."""
    seen: Counter[str] = Counter()
    for turn in space.options(state):
        words = by_name(turn.move.label, space.names)
        if turn.move.fault:
            words += f" [{turn.move.fault}]"
        seen[words] += 1
        yield (words if seen[words] == 1 else f"{words} #{seen[words]}"), turn


def _lines(space: Space, names: list[str], turn: SearchMove) -> Iterator[str]:
    """Draw messages as arrows, and as notes what is a fault or sends nothing."""
    place, move = turn
    post, label = space.cells[0].post, plain(move.label, space.names)
    if place == len(names):
        yield from (note(names[reader], label) for reader, _ in move.sends)
        return
    who = names[place]
    if move.fault or not move.sends:
        what = label.removeprefix(f"{who} ")
        yield note(who, f"{what}, {move.fault}" if move.fault else what)
    sent = [("", batch) for _, batch in move.sends]
    for fate, batch in (*sent, ("lose", move.lost), *(("delay", batch) for batch in move.late)):
        for message in batch:
            reader, _ = post.routes[message]
            yield arrow(who, names[reader], plain(post.name_of(message), space.names), fate)
