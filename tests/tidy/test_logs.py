"""docs/reference/logs.md names every log event, and no other."""

import ast
import re
from collections.abc import Iterator

from tests.tidy.sources import ROOT, SRC, name_of, python_files, tree_of

TEXT = (ROOT / "docs" / "reference" / "logs.md").read_text("utf-8")
ROWS = re.findall(r"^\| `([a-z_]+)` \| (?!`)", TEXT, re.MULTILINE)
LEVELS = {"debug", "info", "warning", "error", "critical", "exception", "log"}
BY_NAME = {
    "src/holdfast/messaging/consumer.py": {"round_failed", "batch_failed"},
    "src/holdfast/services/payment_gateway/charging.py": {
        "stray_charge",
        "refund_refused",
        "payment_unknown",
    },
    "src/holdfast/services/payment_gateway/settlement.py": {
        *("orphan_charge", "unknown_charge", "second_charge", "owed_charge"),
    },
    "src/holdfast/runtime/telemetry.py": {"log_lines_lost"},
    "src/holdfast/payment_provider/log_lines.py": {"log_lines_lost"},
}
"""Files in which an event's name is a variable, or a line is made by hand, and the names that it may have."""


def first_words(tree: ast.AST) -> Iterator[str | None]:
    """Yield the event of every call of a logger; None if it is a variable."""
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Call) and node.args and _is_logger(node.func)):
            continue
        event = node.args[1] if _name(node.func) == "log" and len(node.args) > 1 else node.args[0]
        branches = [event.body, event.orelse] if isinstance(event, ast.IfExp) else [event]
        for branch in branches:
            is_text = isinstance(branch, ast.Constant) and isinstance(branch.value, str)
            yield branch.value if is_text else None  # type: ignore[attr-defined]


def _is_logger(called: ast.expr) -> bool:
    if not (isinstance(called, ast.Attribute) and called.attr in LEVELS):
        return False
    owner = called.value
    of_get_logger = isinstance(owner, ast.Call) and _name(owner.func) == "get_logger"
    return of_get_logger or (isinstance(owner, ast.Name) and owner.id in ("log", "logger"))


def _name(called: ast.expr) -> str:
    return called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")


def events() -> dict[str, set[str | None]]:
    found = {name_of(path): set(first_words(tree_of(path))) for path in python_files(SRC)}
    return {
        name: words
        for name, words in found.items()
        if words and not name.startswith("src/holdfast/bus/kafka/client_log")
    }


def test_every_event_in_the_code_stands_in_the_table_and_the_other_way_round() -> None:
    named = {word for words in events().values() for word in words if word}
    named |= {word for words in BY_NAME.values() for word in words}
    assert len(named) > 60
    assert sorted(named) == sorted(ROWS)
    assert len(ROWS) == len(set(ROWS))


def test_names_that_are_variables_are_known() -> None:
    variable = {name for name, words in events().items() if None in words}
    assert variable <= set(BY_NAME)
    for name, words in BY_NAME.items():
        text = (ROOT / name).read_text("utf-8")
        folder = "".join(path.read_text("utf-8") for path in (ROOT / name).parent.glob("*.py"))
        for word in words:
            assert word in text or word in folder or f'"{word.removesuffix("_charge")}"' in text, word


def test_the_rows_are_sorted() -> None:
    assert sorted(ROWS) == ROWS
