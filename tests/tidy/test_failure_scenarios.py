"""What docs/failure-scenarios.md names exists, and each scenario answers every question."""

import re

from tests.tidy.sources import ROOT

TEXT = (ROOT / "docs" / "failure-scenarios.md").read_text("utf-8")
SCENARIOS = re.findall(r"^### (.+?)\n(.*?)(?=^##|\Z)", TEXT, re.MULTILINE | re.DOTALL)
QUESTIONS = ("What happens", "Where", "Tests", "The shopper reads", "The operator")


def test_every_file_that_it_names_exists() -> None:
    named = set(re.findall(r"`((?:src|tests)/[\w/.]+)`", TEXT))
    assert len(named) > 20
    assert [name for name in sorted(named) if not (ROOT / name).is_file()] == []


def test_every_test_that_it_names_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", TEXT))
    defined = {
        name
        for path in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"^(?:async )?def (test_\w+)", path.read_text("utf-8"), re.MULTILINE)
    }
    assert len(named) > 40
    assert sorted(named - defined) == []


def test_every_scenario_answers_every_question() -> None:
    assert len(SCENARIOS) > 20
    wanting = [(title, q) for title, body in SCENARIOS for q in QUESTIONS if f"- **{q}**: " not in body]
    assert wanting == []
