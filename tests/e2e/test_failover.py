"""The primary dies under load and its synchronous standby takes over: nothing acknowledged is lost."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack

import psycopg
import pytest
from tests.e2e.shopper import Shopper
from tests.e2e.traffic import DATABASES, Stage, Traffic
from tests.eventually import eventually
from tests.standby import Pair, pair, standby_of

from holdfast.contracts.topics import SERVICES
from holdfast.local import table
from holdfast.local.postgres import EmbeddedPostgres

WRITING_WITHIN_S = 120 if "CI" in os.environ else 30


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with pair(tmp_path_factory.mktemp("servers")) as servers:
        for name in DATABASES:
            servers.primary.ensure_database(name)
        yield servers


@pytest.fixture(scope="module")
def stage(servers: Pair, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with Stage(tmp_path_factory.mktemp("platform"), servers.dsn) as stage:
        stage.open_shop()
        yield stage


@pytest.mark.timeout(900)
def test_a_dead_primary_loses_nothing(stage: Stage, servers: Pair) -> None:
    with ExitStack() as started, Traffic(stage) as traffic:
        traffic.await_under_way()
        servers.primary.process.send_signal(signal.SIGKILL)
        servers.primary.process.wait()
        begun = time.monotonic()
        promote(servers.standby)
        await_writing(stage, begun + WRITING_WITHIN_S)
        print(f"all services wrote again {time.monotonic() - begun:.1f} s after the primary's end")  # noqa: T201
        traffic.await_more()
        old = servers.primary.data_dir.with_name("returned")
        started.enter_context(standby_of(servers.standby, old, servers.primary.port))
        end_sessions(servers.standby)  # new ones find a standby at the first host, and pass it over
        traffic.await_more()
        await_writing(stage, time.monotonic() + WRITING_WITHIN_S)
    assert traffic.dead == set(), "livez stayed green"
    stage.assert_sound(traffic.accepted)
    assert stage.restarts() == 0, "no process ended"


def promote(standby: EmbeddedPostgres) -> None:
    with psycopg.connect(standby.dsn("postgres"), autocommit=True) as connection:
        assert connection.execute("select pg_promote(true, 60)").fetchone() == (True,)


def end_sessions(server: EmbeddedPostgres) -> None:
    names = [table.database(service) for service in SERVICES]
    with psycopg.connect(server.dsn("postgres"), autocommit=True) as connection:
        connection.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where datname = any(%s)", [names]
        )


def await_writing(stage: Stage, deadline: float) -> None:
    """Buy one thing to its very end: every service writes for it."""
    shopper = Shopper(stage.platform.info, "witness")

    def bought() -> bool:
        try:
            return bool(shopper.end_of(shopper.buy({"pen": 1}), asks_max=1)["state"] == "COMPLETED")
        except AssertionError:
            return False

    eventually(bought, "every service writes again", deadline - time.monotonic())
