"""What can go wrong at a port, by name, and the switch that lets one thing go wrong during one action.

A fault is written `name:n`: the n-th time that its port is called, or the n-th message or call of a batch.
"""

from collections import Counter

IN_STORE = (
    "store.down",  # no transaction can be opened
    "store.refused",  # rolled back at commit
    "store.commit_lost",  # committed, but the answer never came
    "crash.before_commit",
    "crash.after_commit",
)
IN_CONSUMER = (
    "poll.down",
    "stall",  # stopped between poll and transaction, until resumed: maybe a zombie by then
    "offsets.down",
    "offsets.unknown",  # stored, but the answer never came
    "crash.before_offsets",
    "crash.after_offsets",
)
IN_PUBLISHER = (
    "publish.down",
    "publish.partial",  # half of the batch is there, the rest is not
    "publish.unknown",  # all there, but the answer never came
    "crash.before_publish",
    "crash.after_publish",
    "lose",  # acknowledged, but never there
    "delay",  # acknowledged, and there much later
    "repeat",  # there now, and once more later
)
DELIVERY_FAULTS = ("lose", "delay", "repeat")
IN_PROVIDER = (
    "timeout_before",  # no effect, no answer
    "late",  # no answer, and the effect comes after all, some time
    "timeout_after",  # effect, no answer
    "http_500",  # no effect, heals
    "stored_500",  # effect, and this error is what the key answers from now on
    "in_flight",
    "busy",
    "slow",  # its answer comes in a later action, others' come now
)
COUNTED = frozenset((*IN_STORE, "lose", "delay", "repeat", *IN_PROVIDER))
"""Faults whose `n` matters: a round has several transactions, a batch several messages or calls."""

IN_START = ("stale",)  # the shopper's snapshot is the first one that was ever taken of the cart
AFTER_CALL = ("crash.after_call",)

OF_ACTION: dict[str, tuple[str, ...]] = {
    "write": IN_STORE + IN_CONSUMER,
    "relay": IN_PUBLISHER,
    "charge": IN_STORE,
    "call": IN_PROVIDER + AFTER_CALL,
    "start": IN_STORE + IN_START,
}
"""For each kind of action, the faults that its ports know."""

IN_WORLD = (
    "crash",
    "freeze",
    "rewind",
    "clock",
    "hold",
    "cancel",
    "add",
    "poison",  # a record that cannot be read
    "bug",  # a message at which a handler raises
    "outage",  # the provider fails one card, a share of all keys, or all, until it is over
)
"""Faults that are actions of their own, outside the ports."""

ALL = tuple(dict.fromkeys(name for names in OF_ACTION.values() for name in names)) + IN_WORLD


class Crash(BaseException):
    """The process ended and lost its memory. A BaseException, so that no `except Exception` catches it."""


class Switch:
    """Lets the armed fault strike once; `fired` counts the faults that struck."""

    def __init__(self) -> None:
        self.fired: Counter[str] = Counter()
        self._name = ""
        self._nth = 0

    def arm(self, fault: str) -> None:
        """Let `fault` (`name:n`, or empty for none) strike during the next action."""
        name, _, nth = fault.partition(":")
        self._name, self._nth = name, int(nth or 1)

    def strikes(self, name: str) -> bool:
        """Tell whether fault `name` strikes at this call."""
        if name != self._name:
            return False
        self._nth -= 1
        if self._nth:
            return False
        self.fired[name] += 1
        self._name = ""
        return True

    def strikes_one_of(self, names: tuple[str, ...], size: int) -> tuple[str, int]:
        """Return which of `names` strikes which of `size` things, or ("", -1)."""
        if not size or self._name not in names:
            return "", -1
        name, self._name = self._name, ""
        self.fired[name] += 1
        return name, (self._nth - 1) % size
