"""What an audit says: violations, counts, money, and why it could not be sure.

Plain values that encode to JSON as they are; how they are shown belongs to the command.
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
    """One row of one invariant's `query`; `key` is a saga id, or what the invariant is about."""

    invariant: str
    key: str
    text: str
    query: str

    def __str__(self) -> str:
        return f"{self.invariant} {self.key}: {self.text}"


class Money(Struct, frozen=True):
    """One currency, in minor units: what the provider took and gave back; what completed."""

    charged: int = 0
    refunded: int = 0
    completed: int = 0


class ParkedMessages(Struct, frozen=True):
    """Messages that wait for an operator. No violation: what they would have done is simply not done yet."""

    service: str
    topic: str
    reason: str
    count: int


class AuditReport(Struct, frozen=True):
    """`counts` are sagas by state, `money` is by currency, `quiet` are the reasons why it was not quiet.

    `checked` names the queries that were run: all of them, or where it was not quiet those that hold always.
    """

    exit_code: int
    violations: list[Violation] = field(default_factory=list)
    quiet: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    money: dict[str, Money] = field(default_factory=dict)
    parked: list[ParkedMessages] = field(default_factory=list)
    checked: list[str] = field(default_factory=list)


def outcome(violations: list[Violation], quiet: list[str], counts: dict[str, int]) -> AuditExit:
    """Judge: a violation is one whatever else is true; and an empty system proves nothing."""
    if violations:
        return AuditExit.VIOLATED
    if quiet:
        return AuditExit.NOT_QUIET
    return AuditExit.CLEAN if counts else AuditExit.NOTHING_TO_CHECK
