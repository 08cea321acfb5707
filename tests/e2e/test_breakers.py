"""The bus goes away and comes back under a running platform: refused at once, nothing recorded or undone."""

import signal
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import NamedTuple
from uuid import uuid4

import httpx2
import psycopg
import pytest
from tests.e2e.conftest import running, running_on
from tests.e2e.load import all_ends_well, query
from tests.e2e.shopper import Operator, Shopper
from tests.eventually import eventually
from tests.kafka import LIBS

from holdfast.contracts.topics import GATEWAY, ORCHESTRATOR, ORDER
from holdfast.local.kafka import LocalKafka
from holdfast.local.platform import Platform
from holdfast.local.process_table import BUS_DATABASE

REFUSED_WITHIN_S = 0.05
REFUSED = 50
GUARDED = (GATEWAY, ORCHESTRATOR)
OPENS_WITHIN_S = 120
SOON = {"HOLDFAST_KAFKA_DELIVERY_TIMEOUT_MS": "2000"}
"""How soon a delivery to Kafka counts as failed; PostgreSQL says so at once."""


class Stage(NamedTuple):
    """A platform, and how to take its bus away for a while."""

    platform: Platform
    bus_off: Callable[[], AbstractContextManager[None]]


@pytest.fixture(scope="module", params=["postgres", "kafka"])
def stage(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("platform")
    if request.param == "postgres":
        with running(folder, "postgres") as platform:
            yield Stage(platform, lambda: no_database(platform))
    else:
        with (
            LocalKafka(folder / "kafka", libs=LIBS) as kafka,
            running_on(folder, kafka.bootstrap, SOON) as platform,
        ):
            yield Stage(platform, lambda: no_broker(kafka))


@contextmanager
def no_database(platform: Platform) -> Iterator[None]:
    """Forbid connections to the bus's database, and end the existing ones."""
    with psycopg.connect(platform.postgres.dsn("postgres"), autocommit=True) as connection:
        connection.execute(f"alter database {BUS_DATABASE} allow_connections false")
        try:
            connection.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity where datname = %s", [BUS_DATABASE]
            )
            yield
        finally:
            connection.execute(f"alter database {BUS_DATABASE} allow_connections true")


@contextmanager
def no_broker(kafka: LocalKafka) -> Iterator[None]:
    kafka.kill()
    try:
        yield
    finally:
        kafka.restart()


@pytest.mark.timeout(600)
def test_without_a_bus_the_gateway_accepts_nothing_and_recovers_by_itself(stage: Stage) -> None:
    """So does the orchestrator's breaker, with a command that cannot leave; what was accepted ends."""
    platform = stage.platform
    shopper = Shopper(platform.info)
    busy, *carts = [f"cart-{uuid4().hex[:12]}" for _ in range(REFUSED + 20)]
    for cart_id in (busy, *carts):
        shopper.fill(cart_id, {"pen": 1})
    opened = {service: transitions(platform, service, "open") for service in GUARDED}
    platform.kill(ORDER, signal.SIGSTOP)
    try:
        held = shopper.buy({"pen": 1})
        eventually(lambda: shopper.look(held)["state"] == "ORDER_CREATION_PENDING", "order-create is asked")
        with stage.bus_off():
            send_again(platform, held)
            accepted = [held, *post_until_refused(shopper, busy)]
            accepted += refuse_at_once(platform, shopper, carts)
            for service, before in opened.items():
                await_open(platform, service, before)
            assert query(platform, "select count(*) from outbox") != [(0,)], "the command waits"
    finally:
        platform.kill(ORDER, signal.SIGCONT)
    cart_id = carts.pop()
    eventually(lambda: shopper.post(cart_id, key=cart_id).status_code == 202, "checkouts are taken again", 90)
    accepted.append(str(shopper.post(cart_id, key=cart_id).json()["saga_id"]))
    for service in GUARDED:
        await_closed(platform, service)
    all_ends_well(platform, accepted)
    reasons = query(platform, "select distinct reason from saga where state = 'FAILED'")
    assert reasons == [], "no healthy saga was undone because we had no bus"


def send_again(platform: Platform, saga_id: str) -> None:
    """Have the orchestrator send a command once more, which cannot leave."""
    operator = Operator(platform.info)
    eventually(lambda: operator.resume(saga_id, "look again").status_code == 202, "it is resumed", 120)


def post_until_refused(shopper: Shopper, cart_id: str) -> list[str]:
    """Start a checkout whose message cannot leave, and return it; others for its cart only look in."""
    response = shopper.post(cart_id)
    assert response.status_code == 202, response.text

    def is_refused() -> bool:
        again = shopper.post(cart_id)
        assert again.json()["code"] in {"cart_in_checkout", "overloaded", "dependency_unavailable"}
        return bool(again.json()["code"] == "dependency_unavailable")

    eventually(is_refused, "the door's breaker opens", OPENS_WITHIN_S)
    return [str(response.json()["saga_id"])]


def await_open(platform: Platform, service: str, before: float) -> None:
    """Return when its breaker has opened and refused a call of its relay."""
    eventually(lambda: transitions(platform, service, "open") > before, f"{service}'s opens", OPENS_WITHIN_S)
    eventually(lambda: rejections(platform, service) > 0, "its relay's calls are refused", 60)
    assert not is_in(platform, service, "closed")


def await_closed(platform: Platform, service: str) -> None:
    eventually(lambda: is_in(platform, service, "closed"), f"{service}'s breaker closes", 90)


def refuse_at_once(platform: Platform, shopper: Shopper, carts: list[str]) -> list[str]:
    """Post many that are all refused, soon, and leave no trace, but for a probe: return what was accepted."""
    rows, (seconds, count) = checkouts(platform), refused_s(platform)
    opened = transitions(platform, GATEWAY, "open")
    took, accepted = [], []
    for _ in range(REFUSED):
        cart_id = carts.pop()
        began = time.perf_counter()
        response = shopper.post(cart_id, key=cart_id)
        if response.status_code == 202:
            accepted.append(str(response.json()["saga_id"]))
            continue
        took.append(time.perf_counter() - began)
        assert (response.status_code, response.json()["code"]) == (503, "dependency_unavailable")
        assert int(response.headers["retry-after"]) >= 1
    assert checkouts(platform) - rows == len(accepted), "nothing is recorded but what was accepted"
    assert len(accepted) <= 1 + transitions(platform, GATEWAY, "open") - opened, "and that was a probe"
    assert statistics.median(took) < REFUSED_WITHIN_S
    seconds_after, count_after = refused_s(platform)
    assert count_after - count == len(took)
    assert (seconds_after - seconds) / len(took) < REFUSED_WITHIN_S
    assert not is_in(platform, GATEWAY, "closed")
    return accepted


def checkouts(platform: Platform) -> int:
    return int(str(query(platform, "select count(*) from checkout", GATEWAY)[0][0]))


def is_in(platform: Platform, service: str, state: str) -> bool:
    return metric(platform, service, f'breaker_state{{breaker="kafka-publish",state="{state}"}}') == 1


def transitions(platform: Platform, service: str, state: str) -> float:
    series = f'breaker_transitions_total{{breaker="kafka-publish",state="{state}"}}'
    return metric(platform, service, series)


def rejections(platform: Platform, service: str) -> float:
    return metric(platform, service, 'breaker_rejections_total{breaker="kafka-publish"}')


def refused_s(platform: Platform) -> tuple[float, float]:
    """Return how long the gateway has worked on refused checkouts by its own measure, and how many."""
    labels = '{method="POST",route="/v1/checkouts",status="503"}'
    name = "http_server_request_duration_seconds"
    return metric(platform, GATEWAY, f"{name}_sum{labels}"), metric(
        platform, GATEWAY, f"{name}_count{labels}"
    )


def metric(platform: Platform, service: str, series: str) -> float:
    url = f"{platform.info.services[service].ops_url}/metrics"
    text = httpx2.get(url, trust_env=False, timeout=60).text
    return next(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(series))
