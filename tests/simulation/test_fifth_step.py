"""A fifth step: it touches few files, ends whole under every fault, and what is forgotten of it is said."""

import json
from pathlib import Path

import pytest
from tests.simulation import fifth_step

TOUCHED = {
    "contracts/messages.py": "what its command and its answer hold",
    "contracts/steps.py": "its row",
    "sagas/checkout.py": "where it stands, what it is asked, what its answer is compared with",
    "simulation/process.py": "how it is built",
    "simulation/books.py": "its invariants, if it keeps books",
    "audit/sources.py": "where its database is",
}
"""With the tables of its books in the audit (invariants.py, sql/create_scratch.sql) these are eight files."""

CAMPAIGN = """
import json
from collections import Counter
from holdfast.contracts.topics import MESSAGES, READS
from holdfast.simulation.run import quiet_logs, run_seed
ended, broken, fences = Counter(), [], Counter()
with quiet_logs():
    for seed in range(150):
        result = run_seed(seed)
        broken += [f"{seed}: {violation}" for violation in result.violations]
        sagas = result.world.table("checkout-orchestrator", "saga").values()
        ended.update(f"{saga.state} {saga.reason}" for saga in sagas)
        fences.update(row.state for row in result.world.table("loyalty-points", "fence").values())
print(json.dumps([ended, fences, broken, READS["loyalty-points"], MESSAGES["PointsGranted"].ids]))
""".splitlines()

SEARCH = """
from holdfast.simulation.proof.checkout import scope_named
from holdfast.simulation.proof.prove import Job, search
report = search(Job(scope_named("cart on hold"), 1))
print(report.states, report.ends, [finding.what for finding in report.findings])
""".splitlines()


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fifth")
    fifth_step.make(folder)
    return folder


def test_a_fifth_step_touches_few_files() -> None:
    assert fifth_step.touched() == TOUCHED.keys()
    assert len(TOUCHED) + 2 <= 8


def test_nothing_is_forgotten_of_it(package: Path) -> None:
    assert fifth_step.python(package, RULES) == "[]\n"


def test_it_is_done_undone_refused_and_confirmed_under_random_faults(package: Path) -> None:
    ended, fences, broken, reads, ids = json.loads(fifth_step.python(package, CAMPAIGN))
    assert broken == []
    assert reads == ["checkout.loyalty-command"]
    assert ids == {"loyalty:done": "loyalty-points"}
    assert {"COMPLETED ", "FAILED points_stopped", "FAILED cart_on_hold"} <= ended.keys()
    assert {"CONFIRMED", "UNDONE", "REFUSED"} <= fences.keys()


def test_every_order_of_its_messages_with_one_fault_ends_whole(package: Path) -> None:
    states, ends, findings = fifth_step.python(package, SEARCH).split(maxsplit=2)
    assert findings == "[]\n"
    assert int(states) > 1_000
    assert int(ends) > 0


def test_a_fifth_step_that_does_not_take_back_is_found(tmp_path: Path) -> None:
    fifth_step.make(tmp_path)
    main = tmp_path / "holdfast/services/loyalty_points/main.py"
    main.write_text(
        main.read_text("utf-8").replace("rows[saga_id] = None\n        return", "return"), "utf-8"
    )
    _, _, broken, *_ = json.loads(fifth_step.python(tmp_path, CAMPAIGN))
    assert any("I30" in each for each in broken)


RULES = ["from tests.step_rules import forgotten", "print(forgotten())"]
FORGOTTEN = {
    ("step",): "add it to CHECKOUT.steps in sagas/checkout.py",
    ("comparison",): "compare it in _contradiction in sagas/checkout.py",
    ("process",): "add it to simulation/process.py",
    ("process", "service"): "add services/loyalty_points/main.py with build(ports) and main()",
    ("dsn",): "add `loyalty: str` to Sources in audit/sources.py",
    "owed=Liability": "say owed= in contracts/steps.py",
    "reasons=(FailureReason": "add FailureReason('points_stopped', sentence, charged)",
}


@pytest.mark.parametrize("forgotten", FORGOTTEN, ids=str)
def test_what_is_forgotten_is_said_in_a_sentence(tmp_path: Path, forgotten: str | tuple[str, ...]) -> None:
    fifth_step.make(tmp_path, forgotten if isinstance(forgotten, tuple) else ())
    if isinstance(forgotten, str):
        steps = tmp_path / "holdfast/contracts/steps.py"
        before, _, after = steps.read_text("utf-8").partition('    name="loyalty"')
        lines = after.splitlines(keepends=True)
        lines.remove(next(line for line in lines if forgotten in line))
        steps.write_text(f'{before}    name="loyalty"{"".join(lines)}', "utf-8")
    assert FORGOTTEN[forgotten] in fifth_step.python(tmp_path, RULES)
