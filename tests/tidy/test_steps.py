"""One table of steps: nothing that a row needs elsewhere is forgotten, and no other list repeats it."""

from tests.step_rules import forgotten, steps_named_in

from holdfast.contracts.steps import CART_STEP, STEPS

LISTS = {
    "contracts/steps.py": "the table",
    "contracts/topics.py": "hands the names of services and topics on",
    "sagas/checkout.py": "what the saga asks of each step, and what it compares with the answer",
    "simulation/process.py": "how each service is built",
    "simulation/books.py": "the invariants of each participant's books",
}
"""The files that may name three steps or more, and why; any other would be one more list to keep."""


def test_nothing_that_a_step_or_a_reason_needs_is_forgotten() -> None:
    assert forgotten() == []


def test_no_file_but_these_lists_the_steps() -> None:
    named = steps_named_in()
    lists = {path for path, steps in named.items() if len(steps) > 2}
    assert lists - LISTS.keys() == set(), "derive it from contracts/steps.py: STEPS"
    assert LISTS.keys() - lists == set(), "it lists steps no longer: take it out of LISTS"


def test_each_step_is_named_where_it_is_made_and_in_few_places_else() -> None:
    """The rule must see what it judges: a participant's own folder, and the table."""
    for row in STEPS:
        places = {path for path, steps in steps_named_in().items() if row.name in steps}
        assert f"services/{row.service.replace('-', '_')}/handlers.py" in places
        assert "contracts/steps.py" in places
    kernel = {path for path, steps in steps_named_in().items() if steps and path.startswith("saga/")}
    assert kernel == set(), "the engine knows no step"
    assert CART_STEP.undo == ""
