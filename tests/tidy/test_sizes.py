"""Modules and functions stay small enough to be read in one go."""

from statistics import median

from tests.tidy.sources import ROOT, SRC, functions, name_of, python_files

MODULE_LINES_MAX = 400
MODULE_LINES_MEDIAN = 150
FUNCTION_LINES_MAX = 49


def test_no_module_is_longer_than_it_may_be() -> None:
    sizes = {name_of(path): _lines(path.read_text("utf-8")) for path in python_files(ROOT / "src")}
    sizes |= {name_of(path): _lines(path.read_text("utf-8")) for path in python_files(ROOT / "tests")}
    sizes |= {name_of(path): _lines(path.read_text("utf-8")) for path in python_files(ROOT / "scripts")}
    assert len(sizes) > 150, "the rule must find the files"
    assert {name: size for name, size in sizes.items() if size > MODULE_LINES_MAX} == {}


def test_most_modules_are_short() -> None:
    assert median(_lines(path.read_text("utf-8")) for path in python_files(SRC)) < MODULE_LINES_MEDIAN


def test_no_function_is_longer_than_it_may_be() -> None:
    long = {
        f"{name_of(path)}:{function.lineno} {function.name}": size
        for path in (*python_files(SRC), *python_files(ROOT / "scripts"))
        for function in functions(path)
        if (size := (function.end_lineno or 0) - function.lineno + 1) > FUNCTION_LINES_MAX
    }
    assert long == {}


def _lines(text: str) -> int:
    return text.count("\n")
