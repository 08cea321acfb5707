"""Record tests/histories anew: python -m tests.platforms.record

Plays every scenario, with every fault of every message, on PostgreSQL. Only for a new version of a
definition: histories of a version that sagas may still carry are never recorded again.
"""

import tempfile
from pathlib import Path

import msgspec
from scripts.record_histories import histories, way
from tests.platforms.delivery_faults import DeliveryFault
from tests.platforms.many_checkouts import run_many
from tests.platforms.postgres import postgres_platform
from tests.platforms.scenarios import SCENARIOS, begin

from holdfast.contracts.topics import ORCHESTRATOR
from holdfast.local.postgres import EmbeddedPostgres
from holdfast.sagas.checkout import CHECKOUT
from holdfast.sagas.histories import History
from holdfast.simulation.run import quiet_logs

FOLDER = Path(__file__).parents[1] / "histories"


def committed() -> list[History]:
    """Return every recorded history that is in the repository."""
    lines = [line for file in sorted(FOLDER.glob("*.jsonl")) for line in file.read_bytes().splitlines()]
    return [msgspec.json.decode(line, type=History) for line in lines]


def main() -> None:
    target = FOLDER / f"{CHECKOUT.name}_v{CHECKOUT.version}.jsonl"
    with (
        tempfile.TemporaryDirectory() as name,
        quiet_logs(),
        EmbeddedPostgres(Path(name) / "cluster") as server,
        postgres_platform(server, Path(name)) as platform,
    ):
        platform.cancel(platform.buy((("A", 1),), "pm_card_visa").saga_id)  # before it was heard of
        for scenario in SCENARIOS:
            begin(platform, scenario)
        platform.settle()
        for fault in DeliveryFault:
            run_many(platform, fault)
            platform.wiring.bus.release()
        seen: dict[object, History] = {}
        for history in histories(platform.wiring.dsns[ORCHESTRATOR]):
            seen.setdefault(way(history), history)
    target.write_bytes(b"".join(msgspec.json.encode(history) + b"\n" for history in seen.values()))


if __name__ == "__main__":
    main()
