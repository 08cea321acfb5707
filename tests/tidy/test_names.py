"""One word, one meaning: no class name stands twice, and the glossary speaks of what the code has."""

import ast
import importlib
import re
from collections import defaultdict
from functools import cache

import pytest
from tests.tidy.sources import ROOT, SRC, name_of, python_files

SHARED_NAMES = {
    "Verb": "engine and kernel do not import each other, and both speak of do, undo and confirm",
}
GLOSSARY = ROOT / "docs" / "glossary.md"


def test_no_class_name_stands_twice() -> None:
    modules_of: dict[str, list[str]] = defaultdict(list)
    for path in python_files(SRC):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ClassDef):
                modules_of[node.name].append(name_of(path))
    assert len(modules_of) > 300, "the rule must find the classes"
    twice = {name: places for name, places in modules_of.items() if len(places) > 1}
    assert twice.keys() == SHARED_NAMES.keys(), twice


@cache
def _glossary() -> str:
    return GLOSSARY.read_text("utf-8")


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`([a-z_]+(?:\.[a-z_]+)+\.[A-Z]\w+)`", _glossary()))))
def test_what_the_glossary_names_is_there(name: str) -> None:
    module, _, attribute = name.rpartition(".")
    assert hasattr(importlib.import_module(f"holdfast.{module}"), attribute)


def test_the_tables_that_the_glossary_names_are_made_by_a_migration() -> None:
    made = "\n".join(path.read_text("utf-8") for path in SRC.rglob("migrations/*.sql"))
    named = set(re.findall(r"[Tt]able `(\w+)`", _glossary()))
    assert len(named) > 5
    assert {
        table for table in named if not re.search(rf"create table (?:if not exists )?{table}\b", made)
    } == set()


def test_no_word_is_explained_twice() -> None:
    words = re.findall(r"^\*\*([^*]+)\.\*\*", _glossary(), re.MULTILINE)
    assert len(words) > 60
    assert len(words) == len(set(words))
