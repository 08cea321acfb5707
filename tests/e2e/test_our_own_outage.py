"""We are away for several patiences: no healthy saga is undone. Only the silence of others is believed."""

import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import NamedTuple
from uuid import uuid4

import psycopg
import pytest
from tests.e2e.conftest import running_on
from tests.e2e.load import all_ends_well, query
from tests.e2e.shopper import Shopper
from tests.eventually import eventually

from holdfast.contracts.topics import INVENTORY, ORCHESTRATOR
from holdfast.local.kafka import LocalKafka
from holdfast.local.platform import Platform
from holdfast.local.process_table import BUS_DATABASE

PATIENCE_S = 5
AWAY_S = 3 * PATIENCE_S
SHOPPERS = 6
WAIT_S = 120.0
IMPATIENT = {
    "HOLDFAST_DEADLINE_RESEND_AFTER_MS": "500",
    "HOLDFAST_DEADLINE_BACKOFF_CAP_MS": "1000",
    "HOLDFAST_DEADLINE_PATIENCE_MS": str(PATIENCE_S * 1000),
    "HOLDFAST_DEADLINE_PAYMENT_PATIENCE_MS": str(PATIENCE_S * 1000),
    "HOLDFAST_DEADLINE_LATE_AFTER_MS": "2000",
}
"""So that what happens in minutes happens here in seconds."""


class Site(NamedTuple):
    """A platform, and its Kafka where it has one."""

    platform: Platform
    kafka: LocalKafka | None


@pytest.fixture(scope="module", params=["postgres", pytest.param("kafka", marks=pytest.mark.long)])
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A platform on each of the two buses that loses patience soon."""
    folder = tmp_path_factory.mktemp("platform")
    with ExitStack() as started:
        kafka = started.enter_context(LocalKafka(folder / "kafka")) if request.param == "kafka" else None
        bootstrap = kafka.bootstrap if kafka else None
        yield Site(started.enter_context(running_on(folder, bootstrap, IMPATIENT)), kafka)


@contextmanager
def asked_in_vain(site: Site) -> Iterator[None]:
    """Keep a service silent until it was asked twice; its answers come only after this context ends."""
    site.platform.kill(INVENTORY, signal.SIGSTOP)
    try:
        asked = "select saga_id from timers where step = 'inventory' and fired >= 2 limit 1"
        eventually(lambda: query(site.platform, asked) != [], "some were asked twice", WAIT_S)
        yield
    finally:
        site.platform.kill(INVENTORY, signal.SIGCONT)


@contextmanager
def orchestrator_away(site: Site, ends: signal.Signals) -> Iterator[None]:
    with asked_in_vain(site):
        site.platform.kill(ORCHESTRATOR, signal.SIGSTOP)
    try:
        yield
    finally:
        site.platform.kill(ORCHESTRATOR, ends)


def orchestrator_frozen(site: Site) -> AbstractContextManager[None]:
    return orchestrator_away(site, signal.SIGCONT)


def orchestrator_dead(site: Site) -> AbstractContextManager[None]:
    """It never wakes: another one is started in its place."""
    return orchestrator_away(site, signal.SIGKILL)


@contextmanager
def bus_off(site: Site) -> Iterator[None]:
    """Kafka is killed, or nobody may connect to the bus's database."""
    if site.kafka is not None:
        with asked_in_vain(site):
            site.kafka.kill()
        try:
            yield
        finally:
            site.kafka.restart()
        return
    with psycopg.connect(site.platform.postgres.dsn("postgres"), autocommit=True) as connection:
        with asked_in_vain(site):
            connection.execute(f"alter database {BUS_DATABASE} allow_connections false")
            ended = "select pg_terminate_backend(pid) from pg_stat_activity where datname = %s"
            connection.execute(ended, [BUS_DATABASE])
        try:
            yield
        finally:
            connection.execute(f"alter database {BUS_DATABASE} allow_connections true")


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "outage", [orchestrator_frozen, bus_off, pytest.param(orchestrator_dead, marks=pytest.mark.long)]
)
def test_no_healthy_saga_is_undone_because_we_were_away(
    site: Site, outage: Callable[[Site], AbstractContextManager[None]]
) -> None:
    platform, accepted, enough = site.platform, list[str](), threading.Event()
    with ThreadPoolExecutor(SHOPPERS) as pool:
        shopping = [pool.submit(_shop, platform, number, accepted, enough) for number in range(SHOPPERS)]
        with outage(site):
            enough.set()
            waiting, undone = query(platform, "select count(*) from timers"), _undone(platform)
            threading.Event().wait(AWAY_S)
        for each in shopping:
            each.result(WAIT_S)
    assert waiting != [(0,)], "some were waiting for an answer"
    all_ends_well(platform, accepted, WAIT_S)
    assert _undone(platform) == undone, "nothing but what a slow machine undid before"


def test_another_ones_silence_is_believed(site: Site) -> None:
    """The patience is as short as the tests above take it to be."""
    platform = site.platform
    shopper = Shopper(platform.info)
    platform.kill(INVENTORY, signal.SIGSTOP)
    try:
        saga_id = shopper.buy({"pen": 1})
        eventually(lambda: saga_id in _undone(platform), "it is undone", WAIT_S)
    finally:
        platform.kill(INVENTORY, signal.SIGCONT)
    assert shopper.end_of(saga_id)["state"] == "FAILED"


def _shop(platform: Platform, number: int, accepted: list[str], enough: threading.Event) -> None:
    """Buy one thing after the other; who is turned away comes back."""
    shopper = Shopper(platform.info, f"shopper-{number}")
    while not enough.wait(0.25):
        cart_id = f"cart-{uuid4().hex[:12]}"
        shopper.fill(cart_id, {"pen": 1, "ink": 2})

        def is_accepted(cart_id: str = cart_id) -> bool:
            response = shopper.post(cart_id, key=cart_id)
            if response.status_code == 202:
                accepted.append(str(response.json()["saga_id"]))
            return response.status_code == 202

        eventually(is_accepted, "the door is open", WAIT_S)


def _undone(platform: Platform) -> set[str]:
    found = query(platform, "select saga_id::text from saga where state in ('COMPENSATING', 'FAILED')")
    return {str(saga_id) for (saga_id,) in found}
