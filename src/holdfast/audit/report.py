"""The result of an audit: violations, counts, money, and why the system was not quiet.

Plain values that encode to JSON as they are; the command decides how they are shown.
"""

from enum import IntEnum

from msgspec import Struct, field


class AuditExit(IntEnum):
    """How an audit ends, as the command's exit code."""

    CLEAN = 0
    VIOLATED = 1
    NOTHING_TO_CHECK = 3
    NOT_QUIET = 4


class Violation(Struct, frozen=True):
    """One row of one invariant's `query`; `key` is a saga id, or another key such as a SKU or a currency."""

    invariant: str
    key: str
    text: str
    query: str

    def __str__(self) -> str:
        return f"{self.invariant} {self.key}: {self.text}"


class Money(Struct, frozen=True):
    """Sums of one currency, in minor units: provider's charges and refunds, the completed sagas' worth."""

    charged: int = 0
    refunded: int = 0
    completed: int = 0


class ParkedMessages(Struct, frozen=True):
    """Messages that wait for an operator. They are no violation: their effect is only not there yet."""

    service: str
    topic: str
    reason: str
    count: int


class AuditReport(Struct, frozen=True):
    """`counts` are sagas by state, `money` is by currency, `quiet` are the reasons why it was not quiet.

    `checked` names the queries that were run: all, or only those that always hold if it was not quiet.
    """

    exit_code: int
    violations: list[Violation] = field(default_factory=list)
    quiet: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    money: dict[str, Money] = field(default_factory=dict)
    parked: list[ParkedMessages] = field(default_factory=list)
    checked: list[str] = field(default_factory=list)


def outcome(violations: list[Violation], quiet: list[str], counts: dict[str, int]) -> AuditExit:
    """Return the exit: a violation counts even if the system is not quiet; an empty system proves nothing."""
    if violations:
        return AuditExit.VIOLATED
    if quiet:
        return AuditExit.NOT_QUIET
    return AuditExit.CLEAN if counts else AuditExit.NOTHING_TO_CHECK
