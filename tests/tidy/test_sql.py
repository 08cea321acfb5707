"""Statements stand in files, one a file, each used; none stands in Python."""

import re
from pathlib import Path

from tests.tidy.sources import SRC, name_of, python_files, strings

from holdfast.contracts.steps import STEPS

STATEMENT = re.compile(
    r"\s*(select\s.+|insert\s+into\s|update\s+\w+\s+(\w+\s+)?set\s|delete\s+from\s|truncate\s+\w"
    r"|(create|alter|drop)\s+(table|index|view|schema|database|unique|or\s+replace)\s|with\s+\w+\s+as\s*\()",
    re.IGNORECASE | re.DOTALL,
)
FILES = [path for path in sorted(SRC.rglob("*.sql")) if "migrations" not in path.parts]


def test_no_statement_stands_in_python() -> None:
    found = [
        f"{name_of(path)}:{line}: {text[:60]}"
        for path in python_files(SRC)
        for line, text in strings(path)
        if STATEMENT.match(text) and not text.rstrip().endswith(".")
    ]
    assert found == []


def test_the_rule_knows_a_statement_when_it_sees_one() -> None:
    for text in (
        "select 1",
        "  INSERT INTO t values (1)",
        "update t set a = 1",
        "update t u set a = 1",
        "delete from t",
        "create table t (a int)",
        "with x as (select 1) select * from x",
    ):
        assert STATEMENT.match(text)
    for text in ("selected", "update the cart", "create topics: the lock is held", "with care"):
        assert not STATEMENT.match(text)


def test_every_statement_is_used() -> None:
    assert len(FILES) > 50
    assert [name_of(path) for path in FILES if not _is_used(path)] == []


def _is_used(path: Path) -> bool:
    """Tell whether the file's name stands as a word in the Python of its room, also as `f"read_{table}"`.

    The audit takes the names of the participants' tables from the table of steps.
    """
    words = {text for module in python_files(path.parent.parent) for _, text in strings(module)}
    if path.is_relative_to(SRC / "audit"):
        words |= {table for row in STEPS for table in row.books}
    name = path.stem
    if name in words or path.name in words:
        return True
    prefixes = (name[: i + 1] for i, letter in enumerate(name) if letter == "_")
    return any(prefix in words and name.removeprefix(prefix) in words for prefix in prefixes)


SCHEMAS = {"create_ledger", "create_scratch"}
"""Scripts that make a whole schema at once, outside our own databases."""


def test_every_file_holds_one_statement() -> None:
    many = {path.stem for path in FILES if ";" in _without_comments(path).rstrip().removesuffix(";")}
    assert many == SCHEMAS


def _without_comments(path: Path) -> str:
    return re.sub(r"--[^\n]*|'[^']*'", "", path.read_text("utf-8"))


def test_every_statement_begins_with_a_sentence_that_says_what_it_does() -> None:
    assert [name_of(path) for path in FILES if not re.match(r"-- [A-Z]\w+ ", path.read_text("utf-8"))] == []


def test_statements_are_named_for_what_they_do() -> None:
    verbs = re.compile(r"(i\d\d|[a-z]+)_[a-z0-9_]+$")
    assert [name_of(path) for path in FILES if not verbs.match(path.stem)] == []
