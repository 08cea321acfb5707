"""Whatever a command prints goes through `cli/terminal.py`, so that a new command cannot forget it."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.tidy.sources import ROOT, SRC, imports, name_of, python_files, tree_of

TERMINAL = SRC / "cli" / "terminal.py"
PRINTERS = {"print", "echo", "secho", "confirm", "prompt", "Console", "Confirm", "Prompt"}
STREAMS = {"stdout", "stderr", "__stdout__", "__stderr__"}


def printers(tree: ast.AST) -> Iterator[int]:
    """Yield the lines that print past the terminal: by name, by a console of their own, by a bare stream."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            of_a_console = name == "print" and isinstance(node.func, ast.Attribute)
            if name in PRINTERS and not of_a_console:
                yield node.lineno
        if isinstance(node, ast.Attribute) and node.attr in STREAMS:
            yield node.lineno


@pytest.mark.parametrize(
    "line",
    [
        "print(x)",
        "typer.echo(x)",
        "typer.confirm(x)",
        "Console().print(x)",
        "rich.console.Console(stderr=True)",
        "sys.stdout.write(x)",
        "stream = sys.stderr",
    ],
)
def test_every_way_of_printing_is_seen(line: str) -> None:
    assert list(printers(ast.parse(line)))


def test_a_console_of_the_terminal_is_no_way_past_it() -> None:
    assert not list(printers(ast.parse("console(width_in_pipes=80).print(table)\nsay(x)\nnote(x)")))


def test_no_command_prints_past_the_terminal() -> None:
    files: list[Path] = [path for path in python_files(SRC / "cli") if path != TERMINAL]
    assert len(files) > 15
    found = [f"{name_of(path)}:{line}" for path in files for line in printers(tree_of(path))]
    assert found == []


def test_no_command_reads_markup() -> None:
    markup = {"rich.markup", "rich.prompt", "rich.markdown"}
    found = [name_of(path) for path in python_files(SRC / "cli") if imports(path) & markup]
    found += [name_of(path) for path in python_files(SRC / "cli") if "from_markup" in path.read_text("utf-8")]
    assert found == []
    assert (ROOT / "src" / "holdfast" / "cli" / "terminal.py").is_file()
