"""docs/reference/protocol.md has every line that tests are called by, and each names tests that exist."""

import re

from tests.tidy.sources import ROOT, all_tests

TEXT = (ROOT / "docs" / "reference" / "protocol.md").read_text("utf-8")
LINES = dict(re.findall(r"^([0-9]+)\. (.*?)(?=^[0-9]+\. |^#|\Z)", TEXT, re.MULTILINE | re.DOTALL))


def test_every_line_stands_there_once_in_order() -> None:
    numbers = [int(number) for number in LINES]
    assert numbers[:37] == list(range(1, 38))
    assert numbers == sorted(numbers)


def test_every_line_names_a_test_and_all_of_them_exist() -> None:
    named = {number: re.findall(r"`(test_\w+)`", text) for number, text in LINES.items()}
    assert [number for number, tests in named.items() if not tests] == []
    assert sorted({test for tests in named.values() for test in tests} - all_tests()) == []


def test_a_test_that_is_called_by_a_line_is_called_by_one_that_exists() -> None:
    called = {found[1] for name in all_tests() if (found := re.match(r"test_line_([0-9]+)_", name))}
    assert len(called) > 20
    assert called <= set(LINES)
