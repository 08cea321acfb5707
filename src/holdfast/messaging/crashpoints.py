"""Named points at which a process can be made to kill itself, so that tests can crash at every boundary.

Does nothing unless the settings arm a point (`HOLDFAST_CRASH_AT=name[:n]`: at the n-th visit).
"""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import NamedTuple

from holdfast.contracts.topics import GATEWAY, ORCHESTRATOR, PAYMENT, SERVICES


class CrashPoint(NamedTuple):
    """What is durable at this point and what is not, and which services pass it."""

    text: str
    services: tuple[str, ...] = SERVICES


CRASHPOINTS = {
    "accept.before_commit": CrashPoint("a checkout was accepted, nothing is durable", (GATEWAY,)),
    "accept.after_commit": CrashPoint("the checkout is durable, the shopper has no answer", (GATEWAY,)),
    "batch.before_commit": CrashPoint("a batch was handled, nothing of it is durable"),
    "batch.after_commit": CrashPoint("the batch is durable, its messages and offsets are not out"),
    "park.before_commit": CrashPoint("a message was parked, the row and its copy are not durable"),
    "park.after_commit": CrashPoint("the parked row is durable, its copy and the offset are not out"),
    "timers.before_commit": CrashPoint("deadlines fired, nothing of it is durable", (ORCHESTRATOR,)),
    "timers.after_commit": CrashPoint("the firing is durable, what it sends is not out", (ORCHESTRATOR,)),
    "task.before_commit": CrashPoint("a periodic task's or an operator's act is not durable"),
    "task.after_commit": CrashPoint("the act is durable, what it sends is not out"),
    "forget.before_commit": CrashPoint("published rows are deleted, not durably"),
    "forget.after_commit": CrashPoint("published rows are gone"),
    "publish.before": CrashPoint("committed messages are about to go to the bus"),
    "publish.after": CrashPoint("the bus has the messages, their outbox row is still there"),
    "offsets.before_commit": CrashPoint("the batch is durable, the bus does not know that it was consumed"),
    "offsets.after_commit": CrashPoint("the bus knows that the batch was consumed"),
    "claim.before_commit": CrashPoint("calls to the provider were claimed, not durably", (PAYMENT,)),
    "claim.after_commit": CrashPoint("the claim is durable, the provider was not called", (PAYMENT,)),
    "charge.before_call": CrashPoint("a charge is about to be sent", (PAYMENT,)),
    "charge.after_call": CrashPoint("the provider answered, nothing is recorded", (PAYMENT,)),
    "refund.before_call": CrashPoint("a refund is about to be sent", (PAYMENT,)),
    "refund.after_call": CrashPoint("the provider answered a refund, nothing is recorded", (PAYMENT,)),
    "record.before_commit": CrashPoint("the provider's answers are written, not durably", (PAYMENT,)),
    "record.after_commit": CrashPoint("the answers are durable, their events are not out", (PAYMENT,)),
}

Visitor = Callable[[str], None]

_visitor: Visitor | None = None


def arm(name: str, visit: int = 1) -> None:
    """Kill this process with SIGKILL at the `visit`-th call of `crashpoint(name)`. Raises ValueError."""
    global _visitor  # noqa: PLW0603 - a process has one armed point
    if name not in CRASHPOINTS:
        raise ValueError(f"no crash point named {name!r}; `holdfast crashpoints` lists them")
    if visit < 1:
        raise ValueError("the visit to crash at counts from 1")
    _visitor = _Countdown(name, visit)


@contextmanager
def attended(visitor: Visitor) -> Iterator[None]:
    """Call `visitor` at every crash point; by raising an error it ends a simulated process there."""
    global _visitor  # noqa: PLW0603
    before, _visitor = _visitor, visitor
    try:
        yield
    finally:
        _visitor = before


def crashpoint(name: str) -> None:
    """Mark a boundary between two durable effects."""
    if _visitor is not None:
        _visitor(name)


class _Countdown:
    """Counts visits of one crash point, from any thread, and kills the process at the last."""

    def __init__(self, name: str, visit: int) -> None:
        self._name = name
        self._left = visit
        self._lock = Lock()

    def __call__(self, name: str) -> None:
        if name != self._name:
            return
        with self._lock:
            self._left -= 1
            if self._left == 0:
                os.write(2, f"crash point {name} reached\n".encode())
                os.kill(os.getpid(), signal.SIGKILL)
