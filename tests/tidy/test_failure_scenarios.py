"""What docs/failure-scenarios.md names exists, and each scenario answers every question."""

import re

from tests.tidy.sources import ROOT, all_tests

TEXT = (ROOT / "docs" / "failure-scenarios.md").read_text("utf-8")
SCENARIOS = re.findall(r"^### (.+?)\n(.*?)(?=^##|\Z)", TEXT, re.MULTILINE | re.DOTALL)
QUESTIONS = ("What happens", "Where", "Tests", "The shopper reads", "The operator")
REQUIRED = {
    "1 Service Instance Failure": "An instance of a service crashes, hangs or is shut down",
    "1 Network Latency/Partitions": "The network is slow, or cut",
    "1 Dependency Failure": "A dependency is down or slow",
    "1 Resource Exhaustion": "A resource is used up",
    "1 Code Defects": "The code has a bug",
    "2.1 During Event Processing (Idempotency)": (
        "The orchestrator crashes before it could publish or save (2.1, idempotency)"
    ),
    "2.1 Database Failure": "The orchestrator's database is unavailable (2.1)",
    "2.1 Orchestrator Instance Crash/Restart": "The orchestrator is restarted in the middle of sagas (2.1)",
    "2.2 Kafka Broker Unavailability": "A Kafka broker is unavailable (2.2)",
    "2.2 Producer Failure (Circuit Breaker)": "Publishing fails again and again (2.2, circuit breaker)",
    "2.2 Unprocessable Messages (Poison Pills)": "A message cannot be processed (2.2, poison)",
    "3 Inventory Reservation Fails": "Inventory reservation fails",
    "3 Payment Processing Fails": "Payment processing fails",
    "3 Order Creation Fails": "Order creation fails",
    "3 Cart Clearance Fails": "Cart clearance fails",
    "4 Compensation Logic": "A step that was done is undone",
    "5 Health Checks": "Health",
    "5 Logging & Metrics; Alerting": "Logs, metrics, alarms",
}
"""The scenarios of the requirements, by section and name, and the heading under which each is answered."""


def test_every_required_scenario_has_its_heading_in_the_order_of_the_requirements() -> None:
    wanted = list(REQUIRED.values())
    assert [title for title, _ in SCENARIOS if title in wanted] == wanted


def test_every_file_that_it_names_exists() -> None:
    named = set(re.findall(r"`((?:src|tests)/[\w/.]+)`", TEXT))
    assert len(named) > 20
    assert [name for name in sorted(named) if not (ROOT / name).is_file()] == []


def test_every_test_that_it_names_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", TEXT))
    assert len(named) > 40
    assert sorted(named - all_tests()) == []


def test_every_scenario_answers_every_question() -> None:
    assert len(SCENARIOS) > 20
    wanting = [(title, q) for title, body in SCENARIOS for q in QUESTIONS if f"- **{q}**: " not in body]
    assert wanting == []
