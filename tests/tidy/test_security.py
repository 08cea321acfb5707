"""docs/security.md: every row names a control, and every test that it names stands in the file it names."""

import re

import pytest
from tests.tidy.sources import ROOT

TEXT = (ROOT / "docs" / "security.md").read_text("utf-8")
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(\w+|\*)`", TEXT)))
MODULES = sorted(set(re.findall(r"`((?:runtime|services|messaging|local|cli|contracts)/[\w/]+\.py)`", TEXT)))


@pytest.mark.parametrize(("file", "name"), NAMED)
def test_every_test_that_it_names_exists(file: str, name: str) -> None:
    text = (ROOT / file).read_text("utf-8")
    wanted = r"test_\w+" if name == "*" else name
    assert re.search(rf"^(?:async )?def {wanted}\(", text, re.MULTILINE)


def test_it_names_tests_and_modules_that_exist() -> None:
    assert len(NAMED) > 20
    assert len(MODULES) > 8
    assert [name for name in MODULES if not (ROOT / "src" / "holdfast" / name).is_file()] == []


def test_every_row_is_whole() -> None:
    rows = [line for line in TEXT.splitlines() if line.startswith("| ") and not line.startswith("| Issuer")]
    assert len(rows) > 30
    assert [row for row in rows if any(not cell.strip() for cell in row.split("|")[1:-1])] == []


def test_every_threat_has_a_test_or_a_dash() -> None:
    threats = re.search(r"\| Threat .*?\n\n", TEXT, re.DOTALL)
    assert threats is not None
    for row in threats[0].strip().splitlines()[2:]:
        tests = row.split("|")[-2].strip()
        assert tests == "-" or re.fullmatch(r"`tests/[^`]+`(, `tests/[^`]+`)*", tests), row
