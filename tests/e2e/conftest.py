"""A running platform, on each of the two real buses: all processes, as `holdfast up` starts them."""

import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from scripts.record_histories import histories
from tests.e2e.shopper import Operator, Shopper

from holdfast.contracts.topics import ORCHESTRATOR
from holdfast.local.kafka import LocalKafka
from holdfast.local.platform import Platform
from holdfast.sagas.checkout import VERSIONS
from holdfast.sagas.histories import differences

ENVIRONMENT = {
    "HOLDFAST_ORDER_TOTAL_MAX_MINOR": "1000000",
    "HOLDFAST_ASK_EVERY_MS": "1000",
    "HOLDFAST_BUS_LEASE_S": "3",
    "HOLDFAST_DEADLINE_RESEND_AFTER_MS": "2000",
}
PENS = {"pen": 100_000, "ink": 100_000, "gem": 10}


@pytest.fixture(scope="module", params=["postgres", "kafka"])
def platform(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """A platform of this test module alone; on Kafka with a broker of its own, since topics are shared."""
    folder = tmp_path_factory.mktemp("platform")
    with running(folder, request.param) as platform:
        yield platform


@contextmanager
def running(folder: Path, bus: str, **environment: str) -> Iterator[Platform]:
    """Start a platform with some stock, hand it out, and stop it; `environment` adds to the common one."""
    if bus == "kafka":
        with (
            LocalKafka(folder / "kafka") as kafka,
            running_on(folder, kafka.bootstrap, environment) as platform,
        ):
            yield platform
    else:
        with running_on(folder, None, environment) as platform:
            yield platform


@contextmanager
def running_on(folder: Path, bootstrap: str | None, more: Mapping[str, str]) -> Iterator[Platform]:
    with Platform(folder / "data", kafka=bootstrap, environment=ENVIRONMENT | dict(more)) as platform:
        platform.wait_ready(90)
        Operator(platform.info).stock(PENS)
        yield platform
        replay_histories(platform)


@contextmanager
def frozen(platform: Platform, name: str) -> Iterator[None]:
    """Stop a process where it is, and let it go on at the end."""
    platform.kill(name, signal.SIGSTOP)
    try:
        yield
    finally:
        platform.kill(name, signal.SIGCONT)


def replay_histories(platform: Platform) -> None:
    """Replay what happened on this platform: today's rules lead every saga to where it is (I27)."""
    replay_histories_of(platform.info.services[ORCHESTRATOR].dsn or "")


def replay_histories_of(dsn: str) -> None:
    """Replay what stands in this orchestrator's database."""
    recorded = list(histories(dsn))
    assert recorded, "a platform on which nothing happened proves nothing"
    assert [found for history in recorded if (found := differences(history, VERSIONS))] == []


@pytest.fixture
def shopper(platform: Platform) -> Shopper:
    return Shopper(platform.info)


@pytest.fixture
def operator(platform: Platform) -> Operator:
    return Operator(platform.info)
