"""The primary dies under load and its synchronous standby takes over: nothing acknowledged is lost."""

import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack

import psycopg
import pytest
from tests.e2e.traffic import Stage, Traffic
from tests.eventually import eventually
from tests.standby import Pair, pair, standby_of

from holdfast.contracts.topics import GATEWAY, ORCHESTRATOR, SERVICES
from holdfast.local import process_table, provision
from holdfast.local.postgres import EmbeddedPostgres

WRITING_WITHIN_S = 30
WORK = dict.fromkeys(SERVICES, "fence") | {GATEWAY: "checkout", ORCHESTRATOR: "saga_event"}
"""Where each service inserts what shoppers make it do."""


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with pair(tmp_path_factory.mktemp("servers")) as servers:
        provision.create_databases(servers.primary)
        provision.set_up_bus(servers.primary)
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
        promote(servers.standby)
        took_s = await_writing(stage)
        print(f"all services wrote again {took_s:.1f} s after the promotion")  # noqa: T201
        traffic.await_more()
        old = servers.primary.data_dir.with_name("returned")
        started.enter_context(standby_of(servers.standby, old, servers.primary.port))
        end_sessions(servers.standby)  # new ones find a standby at the first host, and pass it over
        traffic.await_more()
        await_writing(stage)
    assert traffic.dead == set(), "livez stayed green"
    stage.assert_sound(traffic.accepted)
    assert stage.restarts() == 0, "no process ended"


def promote(standby: EmbeddedPostgres) -> None:
    with psycopg.connect(standby.dsn("postgres"), autocommit=True) as connection:
        assert connection.execute("select pg_promote(true, 60)").fetchone() == (True,)


def end_sessions(server: EmbeddedPostgres) -> None:
    names = [process_table.database(service) for service in SERVICES]
    with psycopg.connect(server.dsn("postgres"), autocommit=True) as connection:
        connection.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where datname = any(%s)", [names]
        )


def await_writing(stage: Stage) -> float:
    """Wait until shoppers have made every service write, from now on; return how long that took."""
    begun = time.monotonic()
    before = work(stage)

    def all_write() -> bool:
        return all(count > before[service] for service, count in work(stage).items())

    eventually(all_write, "every service writes again", WRITING_WITHIN_S)
    took_s = time.monotonic() - begun
    assert took_s < WRITING_WITHIN_S
    return took_s


def work(stage: Stage) -> dict[str, int]:
    return {
        service: int(stage.query(service, f"select count(*) from {rows}")[0][0])
        for service, rows in WORK.items()
    }
