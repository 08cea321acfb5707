"""Processes are killed at every crash point, one at a time, with sagas under way in a running platform.

All ordered pairs of crash points are visited in the simulator: tests/simulation/test_crashes.py.
"""

import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from uuid import uuid4

import pytest
from tests.e2e.armed import Armed, armed
from tests.e2e.load import Load, all_ends_well, under_way
from tests.e2e.topics import publish_as
from tests.eventually import eventually

from holdfast.bus.port import Message
from holdfast.contracts.topics import INVENTORY, MESSAGES, SERVICES
from holdfast.messaging.crashpoints import CRASHPOINTS

SHOPPERS = 8


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Armed]:
    with armed(tmp_path_factory.mktemp("platform") / "data") as platform:
        yield platform


@pytest.mark.timeout(900)
def test_a_crash_at_each_boundary_loses_nothing(platform: Armed) -> None:
    """Each crash point once, in one of the services that come by."""
    chosen: dict[str, list[str]] = {service: [] for service in SERVICES}
    for number, (point, place) in enumerate(CRASHPOINTS.items()):
        chosen[place.services[number % len(place.services)]].append(point)
    assert all(chosen.values()), "every service has its part"
    _crash_at(platform, chosen)


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("service", SERVICES)
def test_a_crash_at_each_boundary_of_a_service_loses_nothing(platform: Armed, service: str) -> None:
    """Each crash point in every service that comes by."""
    _crash_at(platform, {service: [name for name, place in CRASHPOINTS.items() if service in place.services]})


def _crash_at(platform: Armed, points: Mapping[str, Sequence[str]]) -> None:
    """Let services crash, one at a time, while shoppers buy; then every saga ends and the books balance."""
    visits = [(service, point) for service, names in points.items() for point in names]
    load = Load(platform.platform, SHOPPERS, patient=True)
    try:
        eventually(lambda: under_way(platform.platform) > 0, "sagas are under way", 60)
        for service, point in visits:
            parks = point.startswith("park.")
            with _circumstances(platform, load, point):
                platform.crash(
                    service, point, partial(_publish_poison, platform, service) if parks else _nothing
                )
        platform.platform.wait_ready(60)
    finally:
        load.stop()
    all_ends_well(platform.platform, load.accepted, 120)


@contextmanager
def _circumstances(platform: Armed, load: Load, point: str) -> Iterator[None]:
    """See to it that it is passed, where shoppers alone bring it about by luck only."""
    if point.startswith("forget."):
        load.lull()  # rows are deleted on their own by the idle; the busy delete them with their batches
    if point.startswith("timers."):
        platform.platform.kill(INVENTORY, signal.SIGSTOP)  # nobody answers, so deadlines fire
    try:
        yield
    finally:
        load.go_on()
        platform.platform.kill(INVENTORY, signal.SIGCONT)


def _nothing() -> None:
    """Shoppers bring it about."""


def _publish_poison(platform: Armed, service: str) -> None:
    """Give the service a message of a type that it reads, whose value is no JSON."""
    kind, message = next((kind, each) for kind, each in MESSAGES.items() if service in each.readers)
    poison = Message(message.topic, str(uuid4()).encode(), b"{", (("ce_type", kind.encode()),))
    publish_as(platform.platform, min(message.writers), [poison])
