"""A fifth step, loyalty points before the cart: the package with it, as a copy that another process imports.

EDITS are all that it changes in files that are there; its service is a folder of its own.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import NamedTuple

from tests.tidy.sources import ROOT, SRC


class Edit(NamedTuple):
    """Text that is put before an anchor, which stands once in the file."""

    file: str
    anchor: str
    text: str


EDITS = {
    "payloads": Edit(
        "contracts/messages.py",
        "class Refused(Payload",
        """class GrantPoints(Payload, frozen=True):
    user_id: Name
    points: Minor
    not_after_ms: EpochMs


class PointsGranted(Payload, frozen=True):
    points: Minor


""",
    ),
    "names": Edit("contracts/steps.py", "    InventoryReserved,\n", "    GrantPoints,\n    PointsGranted,\n"),
    "row": Edit(
        "contracts/steps.py",
        "STEPS = (INVENTORY_STEP",
        """LOYALTY_STEP = StepRow(
    name="loyalty",
    service="loyalty-points",
    topic="checkout.loyalty-command",
    pending=StateText("POINTS_GRANT_PENDING", "Your points are being counted."),
    finished=StateText("POINTS_GRANTED", "Your points were granted."),
    do=GrantPoints,
    done=PointsGranted,
    failed="PointsGrantFailed",
    undo="CompensatePoints",
    undone="PointsCompensated",
    confirm="ConfirmPoints",
    owed=Liability("points to take back"),
    reasons=(FailureReason("points_stopped", "Points cannot be granted now", REFUNDED),),
)

""",
    ),
    "table": Edit("contracts/steps.py", " CART_STEP)\n", " LOYALTY_STEP,"),
    "step": Edit(
        "sagas/checkout.py",
        "        _step(CART_STEP, _clear_cart),\n",
        "        _step(steps.LOYALTY_STEP, _grant_points),\n",
    ),
    "command": Edit(
        "sagas/checkout.py",
        "def _clear_cart(",
        """def _grant_points(saga: SagaInstance) -> messages.GrantPoints:
    cart = _initiated(saga)
    return messages.GrantPoints(cart.user_id, cart.total_minor // 100, cart.not_after_ms)


""",
    ),
    "comparison": Edit(
        "sagas/checkout.py",
        "    answer = event.payload\n",
        """    if isinstance(event.payload, messages.PointsGranted):
        points = _grant_points(saga).points
        return "" if event.payload.points == points else f"not {points} points"
""",
    ),
    "imports": Edit(
        "sagas/checkout.py",
        "from holdfast.saga.definition",
        "from holdfast.contracts import messages, steps\n",
    ),
    "process": Edit(
        "simulation/process.py",
        "class Process:\n",
        """from holdfast.services.loyalty_points import main as loyalty_points

TRANSACTIONS["loyalty-points"] = MemoryTransaction
BUILDS["loyalty-points"] = lambda ports, *_: loyalty_points.build(ports)


""",
    ),
    "dsn": Edit("audit/sources.py", "    cart: str\n", "    loyalty: str\n"),
    "book": Edit(
        "simulation/books.py",
        "def carts(world: World)",
        """def points(world: World) -> Iterator[InvariantViolation]:
    granted = world.table("loyalty-points", "points")
    for saga_id, saga in sagas(world).items():
        due = world.shoppers.initiated(saga_id).total_minor // 100 if saga.state == "COMPLETED" else None
        has = granted.get(saga_id)
        if has != due:
            yield InvariantViolation("I30", f"{saga_id} is {saga.state}, it has {has} points")


""",
    ),
    "books": Edit("simulation/books.py", "        carts,\n", "        points,\n"),
}

MAIN = '''"""loyalty-points: grants points on do, takes them back on undo."""

from holdfast.contracts.messages import PointsGranted, Refused
from holdfast.contracts.steps import LOYALTY_STEP
from holdfast.messaging.components import assemble
from holdfast.messaging.outcome_poller import OutcomePoller
from holdfast.messaging.participant import Done, ParticipantHandler


class LoyaltyParticipant:
    messages = LOYALTY_STEP.messages

    def load(self, tx, work):
        return {item.envelope.saga_id: tx.table("points").get(item.envelope.saga_id) for item in work}

    def do(self, rows, saga_id, command):
        if command.points % 3 == 0:
            return Refused("points_stopped", "every third")
        assert rows[saga_id] is None, "points were granted twice"
        rows[saga_id] = command.points
        return Done(PointsGranted(command.points))

    def agrees(self, rows, command, fence):
        return True

    def undo(self, rows, saga_id):
        rows[saga_id] = None
        return True

    def confirm(self, rows, saga_id):
        assert rows[saga_id] is not None

    def forget(self, rows, saga_id):
        raise AssertionError("points are granted at once and never pending")

    def save(self, tx, rows):
        for saga_id, points in rows.items():
            if points is None:
                tx.table("points").pop(saga_id, None)
            else:
                tx.table("points")[saga_id] = points


def build(ports):
    poller = OutcomePoller("loyalty", ports.partitions, ports.monotonic_ms)
    handler = ParticipantHandler(LoyaltyParticipant())
    return assemble(ports, LOYALTY_STEP.service, handler, periodic_tasks=[poller.periodic_task()])
'''


def touched() -> set[str]:
    """Return the files that are there and that the step changes."""
    return {edit.file for edit in EDITS.values()}


def make(folder: Path, without: Collection[str] = ()) -> None:
    """Copy the package into `folder` and add the step, but for the edits that are forgotten."""
    package = folder / "holdfast"
    shutil.copytree(SRC, package, ignore=shutil.ignore_patterns("__pycache__"))
    for name, edit in EDITS.items():
        if name in without:
            continue
        path = package / edit.file
        text = path.read_text("utf-8")
        assert text.count(edit.anchor) == 1, f"{edit.file} has no longer one {edit.anchor!r}"
        path.write_text(text.replace(edit.anchor, edit.text + edit.anchor), "utf-8")
    if "service" not in without:
        service = package / "services" / "loyalty_points"
        service.mkdir()
        (service / "__init__.py").write_text('"""loyalty-points."""\n', "utf-8")
        (service / "main.py").write_text(MAIN, "utf-8")


def python(folder: Path, lines: Iterable[str]) -> str:
    """Run a program on the copy; return what it prints."""
    environment = os.environ | {"PYTHONPATH": f"{folder}{os.pathsep}{ROOT}", "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)],
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout
