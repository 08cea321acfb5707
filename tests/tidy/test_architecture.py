"""What ARCHITECTURE.md names is in the code, and the journey of a checkout stays short."""

import importlib
import re
from functools import cache

import pytest
from tests.tidy.sources import ROOT, SRC, python_files

TEXT = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
_, PLAN, PROSE = TEXT.split("```")
NAMES = sorted(set(re.findall(r"`([^`]+)`", PROSE)))
JOURNEY = re.findall(r"^[1-9][0-9]*\. `([\w.]+)`", PROSE, re.MULTILINE)
STEPS_MAX = 9
LINES_MAX = 112


@pytest.mark.parametrize("name", NAMES)
def test_every_name_exists(name: str) -> None:
    if "::" in name:
        file, _, test = name.partition("::")
        assert re.search(rf"^def {test}\(", (ROOT / file).read_text("utf-8"), re.MULTILINE)
    elif "/" in name or name.endswith(".py"):
        assert any((root / name).exists() for root in (ROOT, SRC)) or any(SRC.rglob(name))
    elif "." in name:
        resolve(name)
    else:
        assert name in _words()


def resolve(name: str) -> object:
    """Return the module, class, function or method of this name below `holdfast`."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        if (SRC / "/".join(parts[:length])).with_suffix(".py").is_file():
            found: object = importlib.import_module(f"holdfast.{'.'.join(parts[:length])}")
            for part in parts[length:]:
                found = getattr(found, part)
            return found
    raise AssertionError(f"no module of ours: {name}")


@cache
def _words() -> frozenset[str]:
    files = (*python_files(SRC), *python_files(ROOT / "tests" / "simulation"))
    return frozenset(word for path in files for word in re.findall(r"\w+", path.read_text("utf-8")))


def test_the_plan_has_every_room_and_no_other() -> None:
    rooms = re.findall(r"^  ([a-z_]+)/ ", PLAN, re.MULTILINE)
    assert sorted(rooms) == sorted(path.parent.name for path in SRC.glob("*/__init__.py"))
    services = re.findall(r"([a-z_]+)/", PLAN.split("  services/")[1].splitlines()[0])
    assert sorted(services) == sorted(path.parent.name for path in SRC.glob("services/*/__init__.py"))


def test_the_journey_is_short_and_comes_to_no_module_twice() -> None:
    assert 5 < len(JOURNEY) <= STEPS_MAX
    assert all(callable(resolve(name)) for name in JOURNEY)
    modules = [re.split(r"\.[A-Z]|\.[a-z_]+$", name)[0] for name in JOURNEY]
    assert len(set(modules)) == len(modules)


def test_it_is_read_in_one_go() -> None:
    assert len(TEXT.splitlines()) <= LINES_MAX
