"""The bus goes away and comes back under a running gateway: refused at once, and nothing is recorded."""

import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

import httpx2
import psycopg
import pytest
from tests.e2e.conftest import running
from tests.e2e.load import all_ends_well, query
from tests.e2e.shopper import Shopper
from tests.eventually import eventually

from holdfast.contracts.topics import GATEWAY
from holdfast.local.platform import BUS_DATABASE, Platform

REFUSED_WITHIN_S = 0.05


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    with running(tmp_path_factory.mktemp("platform"), "postgres") as platform:
        yield platform


@contextmanager
def bus_off(platform: Platform) -> Iterator[None]:
    """Let nobody connect to the bus's database, and end whoever has."""
    with psycopg.connect(platform.postgres.dsn("postgres"), autocommit=True) as connection:
        connection.execute(f"alter database {BUS_DATABASE} allow_connections false")
        try:
            connection.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity where datname = %s", [BUS_DATABASE]
            )
            yield
        finally:
            connection.execute(f"alter database {BUS_DATABASE} allow_connections true")


def test_without_a_bus_the_door_is_closed_and_opens_again_by_itself(platform: Platform) -> None:
    shopper = Shopper(platform.info)
    accepted: list[str] = []
    carts = [f"cart-{uuid4().hex[:12]}" for _ in range(60)]
    for cart_id in carts:
        shopper.fill(cart_id, {"pen": 1})
    opened = _transitions(platform, "open")
    with bus_off(platform):
        refused: list[float] = []

        def is_refused() -> bool:
            began = time.perf_counter()
            response = shopper.post(carts[0], key=uuid4().hex)
            if response.status_code == 202:
                accepted.append(str(response.json()["saga_id"]))
                carts.pop(0)
                return False
            if response.json()["code"] != "dependency_unavailable":
                return False
            assert response.status_code == 503
            assert int(response.headers["retry-after"]) >= 1
            refused.append(time.perf_counter() - began)
            return True

        eventually(is_refused, "the breaker opens", 60)
        rows = _checkouts(platform)
        for _ in range(20):
            is_refused()
        assert _checkouts(platform) - rows <= 1, "nothing is recorded but for a probe"
        assert statistics.median(refused) < REFUSED_WITHIN_S
        assert _transitions(platform, "open") > opened
        assert _metric(platform, 'breaker_state{breaker="kafka-publish",state="closed"}') == 0
    eventually(lambda: _posted(shopper, carts, accepted), "checkouts are taken again", 60)
    eventually(
        lambda: _metric(platform, 'breaker_state{breaker="kafka-publish",state="closed"}') == 1,
        "the breaker is closed",
    )
    all_ends_well(platform, accepted)
    reasons = query(platform, "select distinct reason from saga where state = 'FAILED'")
    assert reasons == [], "no healthy saga was undone because we had no bus"


def _posted(shopper: Shopper, carts: list[str], accepted: list[str]) -> bool:
    response = shopper.post(carts[0], key=carts[0])
    if response.status_code == 202:
        accepted.append(str(response.json()["saga_id"]))
    return response.status_code == 202


def _checkouts(platform: Platform) -> int:
    return int(str(query(platform, "select count(*) from checkout", GATEWAY)[0][0]))


def _transitions(platform: Platform, state: str) -> float:
    return _metric(platform, f'breaker_transitions_total{{breaker="kafka-publish",state="{state}"}}')


def _metric(platform: Platform, series: str, service: str = GATEWAY) -> float:
    text = httpx2.get(f"{platform.info.services[service].url}/metrics", trust_env=False).text
    return next(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(series))
