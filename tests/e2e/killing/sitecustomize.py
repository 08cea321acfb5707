"""On the path of a platform's processes in a test: inventory-write dies of one code and fails at another.

Python imports this at its start. A file of the code's name in HOLDFAST_TEST_CURES is the cure.
"""

import os
import signal
import sys
from pathlib import Path
from typing import Any

KILLER, BUG = "killer", "bug"


def _spoil() -> None:
    from holdfast.contracts.messages import ReserveInventory
    from holdfast.services.inventory_write.handlers import InventoryParticipant

    cures = Path(os.environ["HOLDFAST_TEST_CURES"])
    sound: Any = InventoryParticipant.load

    def load(self: Any, tx: Any, work: Any) -> Any:
        commands = [item.envelope.payload for item in work]
        skus = {line.sku for c in commands if isinstance(c, ReserveInventory) for line in c.lines}
        if KILLER in skus and not (cures / KILLER).exists():
            os.kill(os.getpid(), signal.SIGKILL)
        if BUG in skus and not (cures / BUG).exists():
            raise ZeroDivisionError("a bug that only this code meets")
        return sound(self, tx, work)

    InventoryParticipant.load = load  # type: ignore[method-assign]


if sys.orig_argv[-2:] == ["serve", "inventory-write"]:
    _spoil()
