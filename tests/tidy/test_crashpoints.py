"""The list of crash points and the code name the same places."""

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.tidy.sources import SRC, name_of, python_files, tree_of

from holdfast.messaging.crashpoints import CRASHPOINTS

PREFIXES = {name.removesuffix(".before_commit") for name in CRASHPOINTS if name.endswith(".before_commit")}


def test_every_crash_point_of_the_list_is_in_the_code_and_the_other_way_round() -> None:
    files = [path for path in python_files(SRC) if path.name != "crashpoints.py"]
    visited = {name for path in files for name in _visited(path)}
    assert visited == set(CRASHPOINTS)


def test_every_commit_has_a_side_before_and_one_after() -> None:
    assert {f"{each}.after_commit" for each in PREFIXES} < set(CRASHPOINTS)


def _visited(path: Path) -> Iterator[str]:
    """Yield what `crashpoint("...")` calls name, and both sides of what a transaction is told to be `at`."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Call):
            if getattr(node.func, "id", "") == "crashpoint":
                if isinstance(node.args[0], ast.Constant):
                    yield str(node.args[0].value)
                else:
                    assert path.name == "batch_processor.py", f"{name_of(path)}: name it as it is"
            for keyword in node.keywords:
                if keyword.arg == "at":
                    yield from _sides(keyword.value)
        elif isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "at":
            yield from _sides(node.value)
        elif isinstance(node, ast.FunctionDef):
            for argument, default in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True):
                if argument.arg == "at" and default is not None:
                    yield from _sides(default)


def _sides(value: ast.expr) -> Iterator[str]:
    for node in ast.walk(value):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from (f"{node.value}.before_commit", f"{node.value}.after_commit")
