"""Named places where a process can be told to kill itself, so that tests can visit every boundary.

Does nothing unless armed by the settings (`HOLDFAST_CRASH_AT=name[:n]`, the n-th visit).
"""

import os
import signal
from threading import Lock

CRASHPOINTS = (
    "accept.before_commit",
    "accept.after_commit",
    "batch.before_commit",
    "batch.after_commit",
    "offsets.before_commit",
    "offsets.after_commit",
    "publish.before",
    "publish.after",
    "outbox.after_forget",
    "timers.before_commit",
    "timers.after_commit",
    "charge.after_claim",
    "charge.after_call",
    "charge.after_record",
)

_lock = Lock()
_armed: tuple[str, int] | None = None


def arm(name: str, visit: int = 1) -> None:
    """Kill this process with SIGKILL at the `visit`-th call of `crashpoint(name)`. Raises ValueError."""
    global _armed  # noqa: PLW0603 - one process, one armed place
    if name not in CRASHPOINTS:
        raise ValueError(f"no crash point named {name!r}; known: {', '.join(CRASHPOINTS)}")
    if visit < 1:
        raise ValueError("the visit to crash at counts from 1")
    _armed = (name, visit)


def crashpoint(name: str) -> None:
    """Mark a boundary between two durable effects."""
    if _armed is not None:
        _visit(name)


def _visit(name: str) -> None:
    global _armed  # noqa: PLW0603
    with _lock:
        if _armed is None or _armed[0] != name:
            return
        _armed = (name, _armed[1] - 1)
        if _armed[1] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
