"""How an audit ends: a violation wins over everything, and nothing proves nothing."""

import pytest

from holdfast.audit.report import Violation, outcome

VIOLATION = Violation("I02", "saga-1", "worth 5 GBP, but the provider holds 0", "i02_money_per_saga")


@pytest.mark.parametrize(
    ("violations", "quiet", "counts", "exit_code"),
    [
        ([], [], {"COMPLETED": 1}, 0),
        ([VIOLATION], [], {"COMPLETED": 1}, 1),
        ([VIOLATION], ["a timer is due"], {"COMPLETED": 1}, 1),
        ([VIOLATION], [], {}, 1),
        ([], [], {}, 3),
        ([], ["a timer is due"], {"COMPLETED": 1}, 4),
        ([], ["a timer is due"], {}, 4),
    ],
)
def test_the_exit_code(
    violations: list[Violation], quiet: list[str], counts: dict[str, int], exit_code: int
) -> None:
    assert outcome(violations, quiet, counts) == exit_code


def test_a_violation_reads_as_one_line() -> None:
    assert str(VIOLATION) == "I02 saga-1: worth 5 GBP, but the provider holds 0"
