"""Prints all output of the command, so that no data in it can move the cursor, or hide or style text.

Control, bidi and invisible characters are shown as escapes; square brackets are never markup.
"""

import re
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

_INVISIBLE = frozenset(
    map(
        chr,
        (
            *(0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2800, 0x3164, 0xFFA0),
            *range(0x180B, 0x1810),
            *range(0xFE00, 0xFE10),  # variation selectors
            *range(0xE0100, 0xE01F0),
        ),
    )
)
"""Printable by name only: Unicode's default ignorable code points, and the empty Braille."""

_PLAIN = re.compile(r"[ -~]*")


def visible(text: str) -> str:
    """Return the text with every control, bidi and invisible character as its escape; line feeds too."""
    if _PLAIN.fullmatch(text):
        return text
    return "".join(_shown(character) for character in text)


def say(*lines: str) -> None:
    """Print lines on stdout; a line feed within one shows as an escape."""
    _write(sys.stdout, lines)


def note(line: str) -> None:
    """Print a note that is not a result, on stderr; further lines of it are indented."""
    first, *more = line.split("\n")
    _write(sys.stderr, [first, *(f"  {each}" for each in more)])


def say_json(document: Any, *, indent: int | None = None) -> None:
    """Print a document as JSON in plain ASCII: what a terminal could obey is escaped, as JSON escapes."""
    import json

    import msgspec

    text = json.dumps(msgspec.to_builtins(document), indent=indent)
    sys.stdout.write(text.replace("\x7f", "\\u007f") + "\n")
    sys.stdout.flush()


def ask(question: str) -> bool:
    """Ask a question of yes or no."""
    import typer

    return typer.confirm(visible(question))


def console(*, width_in_pipes: int | None = None, stderr: bool = False) -> "Console":
    """Return the console for tables; in a pipe it is so wide that nothing is cut."""
    from rich.console import Console
    from rich.segment import Segment

    class Neutral(Console):
        """A console of which every segment that is no control code of its own is neutral."""

        def print(self, *objects: Any, **how: Any) -> None:
            super().print(*map(_neutral, objects), **how)  # before it is measured, so that nothing is cut

        def render(self, renderable: Any, options: Any = None) -> Iterable[Segment]:
            for segment in super().render(renderable, options):
                if segment.control:
                    yield segment
                else:
                    yield segment._replace(text="\n".join(map(visible, segment.text.split("\n"))))

    plain = {"markup": False, "emoji": False, "highlight": False, "stderr": stderr}
    made = Neutral(**plain)  # type: ignore[arg-type]
    if made.is_terminal or width_in_pipes is None:
        return made
    return Neutral(width=width_in_pipes, **plain)  # type: ignore[arg-type]


def _neutral(shown: Any) -> Any:
    """Return a renderable with every control character in its texts shown as an escape."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    match shown:
        case str():
            return "\n".join(map(visible, shown.split("\n")))
        case Text() if _neutral(shown.plain) != shown.plain:
            return Text(_neutral(shown.plain), shown.style)
        case Group():
            return Group(*map(_neutral, shown.renderables))
        case Table():
            for column in shown.columns:
                column.header = _neutral(column.header)
                column._cells[:] = map(_neutral, column._cells)  # noqa: SLF001 - rich has no other way
    return shown


def _shown(character: str) -> str:
    if character.isprintable() and character not in _INVISIBLE:
        return character
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")


def _write(stream: Any, lines: Iterable[str]) -> None:
    stream.write("".join(f"{visible(line)}\n" for line in lines))
    stream.flush()
