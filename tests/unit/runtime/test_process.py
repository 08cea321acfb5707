"""A process with a dead loop reports it and ends; one whose dependencies are away waits."""

import asyncio
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import httpx2
import pytest
from structlog.testing import capture_logs
from tests.callers import calling
from tests.unit.messaging.kernel_harness import KernelHarness

from holdfast.bus.port import BusForbidden
from holdfast.contracts.topics import EVENTS
from holdfast.messaging.components import Components
from holdfast.messaging.outbox_rescuer import OutboxRescuer
from holdfast.messaging.store import StoreForbidden, StoreUnavailable
from holdfast.runtime import process
from holdfast.runtime.migrations import PartitionsChanged
from holdfast.runtime.process import ExtraLoop, Service
from holdfast.runtime.settings import ServiceSettings

OK = {"ok": True, "reasons": []}


def service(*extra_loops: ExtraLoop, port: int = 1, ops_port: int = 2, lame_duck_s: float = 0.0) -> Service:
    """A service in memory, whose ports are closed until it is run."""
    world = KernelHarness()
    parts: Components[Any] = Components(world.processor, world.relay, world.manager, OutboxRescuer("me"))
    settings = ServiceSettings(
        dsn="",
        bus_dsn="host=none",
        http_port=port,
        ops_port=ops_port,
        lame_duck_s=lame_duck_s,
        jwks=Path("none"),
        instance="me",
    )
    return Service("inventory-write", settings, cast("Any", world.bus), parts, (), extra_loops=extra_loops)


def ask(made: process._Process, *paths: str) -> list[httpx2.Response]:
    async def main() -> list[httpx2.Response]:
        async with calling(made._service.ops_app) as client:
            return [await client.get(path) for path in paths]

    return asyncio.run(main())


def told(responses: Sequence[httpx2.Response]) -> list[tuple[int, list[str]]]:
    return [(response.status_code, response.json()["reasons"]) for response in responses]


def sick() -> float:
    raise ZeroDivisionError("a bug")


def test_while_its_dependencies_are_away_it_lives_and_is_not_ready() -> None:
    waiting = ["waiting for database and bus"]
    made = process._Process(service())
    assert told(ask(made, "/livez", "/readyz", "/health")) == [(200, []), (503, waiting), (200, waiting)]


def test_a_bus_that_does_not_let_it_in_is_said_by_its_readiness(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("require_durable", "migrate", "agree_partitions"):
        monkeypatch.setattr(process, name, lambda *_: None)
    made = process._Process(service())

    def refused(*_: object) -> None:
        made._stopping.begun.set()
        raise BusForbidden("TOPIC_AUTHORIZATION_FAILED")

    monkeypatch.setattr(made._service.bus, "create_topics", refused)
    made._await_dependencies()
    made._stopping.begun.clear()
    why = ["the bus refuses our name, password or rights: see HOLDFAST_BUS_DSN"]
    assert told(ask(made, "/livez", "/readyz")) == [(200, []), (503, why)]


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (StoreForbidden("28P01"), "the database refuses our name, password or rights: see HOLDFAST_DSN"),
        (PartitionsChanged("HOLDFAST_PARTITIONS is 18"), "HOLDFAST_PARTITIONS is 18"),
        (StoreUnavailable("connection"), "waiting for database and bus"),
    ],
)
def test_a_start_that_waits_for_a_person_says_why_and_goes_on(
    monkeypatch: pytest.MonkeyPatch, error: Exception, why: str
) -> None:
    errors = [error, error]

    def refused(*_: object) -> None:
        if errors:
            raise errors.pop()

    monkeypatch.setattr(process, "require_durable", refused)
    for name in ("migrate", "agree_partitions"):
        monkeypatch.setattr(process, name, lambda *_: None)
    made = process._Process(service())
    monkeypatch.setattr(made._service.bus, "create_topics", lambda *_: None)
    with capture_logs() as logs:
        made._await_dependencies()
    assert told(ask(made, "/livez", "/readyz")) == [(200, []), (503, [why])]
    waits = [line for line in logs if line["event"] == "start_waits"]
    assert len(waits) == (0 if type(error) is StoreUnavailable else 2)
    assert all(line["reason"] == why for line in waits)


def test_a_start_on_grown_topics_goes_on_and_on_shrunk_ones_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("require_durable", "migrate", "agree_partitions"):
        monkeypatch.setattr(process, name, lambda *_: None)
    made = process._Process(service())
    counts = made._service.bus.state.partitions  # type: ignore[attr-defined]
    counts.update(dict.fromkeys(counts, made._service.settings.partitions))
    counts[EVENTS] = 40
    with capture_logs() as logs:
        made._await_dependencies()
    assert logs == []

    counts[EVENTS] = 3
    monkeypatch.setattr(made._stopping.begun, "wait", lambda _: counts.update({EVENTS: 12}))
    with capture_logs() as logs:
        made._await_dependencies()
    [line] = logs
    assert line["reason"] == f"topic {EVENTS} has 3 partitions, not 12"


def test_a_database_that_takes_no_writes_makes_an_idle_process_unready_until_it_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = process._Process(service())
    made._started.set()
    manager = made._parts.manager

    def round_after_a_while() -> list[tuple[int, list[str]]]:
        next(task for task in manager.periodic_tasks if task.name == "write_probe").due_ms = 0
        manager.run_once(0)
        return told(ask(made, "/livez", "/readyz"))

    def full() -> None:
        raise StoreUnavailable("53100: as scripted")

    assert round_after_a_while() == [(200, []), (200, [])]
    with monkeypatch.context() as patch:
        patch.setattr(manager.processor, "probe_writes", full)
        with capture_logs() as logs:
            answers = [round_after_a_while() for _ in range(4)]
    assert answers[-1] == [(200, []), (503, ["the database takes no writes"])]
    assert [line["event"] for line in logs] == ["writes_fail"]
    assert manager.failures_in_a_row == 0, "messages are not held up by a probe"
    assert round_after_a_while() == [(200, []), (200, [])]


def test_a_process_that_is_well_says_so_and_what_it_does() -> None:
    made = process._Process(service(ExtraLoop("extra", lambda: 0.0)))
    made._started.set()
    made._parts.manager.run_once(0)
    live, ready, health, metrics = ask(made, "/livez", "/readyz", "/health", "/metrics")
    assert [(each.status_code, each.json()) for each in (live, ready)] == [(200, OK), (200, OK)]
    said = health.json()
    assert (health.status_code, said["ok"], said["service"]) == (200, True, "inventory-write")
    assert said["loops"] == {"writer": "well", "extra": "well", "relay_retry": "well", "relay": "well"}
    assert metrics.headers["content-type"].startswith("text/plain")
    assert 'messages_total{result="handled"} 0.0' in metrics.text


def test_a_dead_loop_makes_it_neither_alive_nor_ready_and_ends_it() -> None:
    made = process._Process(service(ExtraLoop("extra", sick)))
    made._started.set()
    made._parts.manager.run_once(0)
    extra = made._loops[1]
    extra.start()
    assert extra.join(30)
    reasons = ["loop extra is dead or stuck"]
    assert told(ask(made, "/livez", "/readyz", "/health")) == [(503, reasons), (503, reasons), (200, reasons)]
    assert ask(made, "/health")[0].json()["loops"]["extra"] == "dead"
    assert (made._failed, made._server.should_exit) == (True, True)


def test_who_stops_is_alive_and_not_ready() -> None:
    made = process._Process(service())
    made._started.set()
    made._parts.manager.run_once(0)
    made._stopping.announced.set()
    assert told(ask(made, "/livez", "/readyz")) == [(200, []), (503, ["stopping"])]


def ends(program: str) -> int:
    """Run a program that runs a service; return its exit code."""
    head = """
        from tests.unit.runtime.test_process import service, sick
        from holdfast.local.processes import free_ports
        from holdfast.runtime import process
        from holdfast.runtime.process import ExtraLoop, run
        process._Process._await_dependencies = lambda _: None
        port, ops_port = free_ports(2)
    """
    text = textwrap.dedent(head) + textwrap.dedent(program)
    root = Path(__file__).parents[3]
    return subprocess.run([sys.executable, "-c", text], check=False, cwd=root, timeout=120).returncode


def test_a_process_ends_with_1_when_a_loop_dies() -> None:
    assert ends("raise SystemExit(run(service(ExtraLoop('extra', sick), port=port, ops_port=ops_port)))") == 1


def test_a_process_ends_with_1_when_it_cannot_be_started() -> None:
    program = """
        process._Process._await_dependencies = lambda _: sick()
        raise SystemExit(run(service(port=port, ops_port=ops_port)))
    """
    assert ends(program) == 1


def test_a_process_that_is_told_to_stop_ends_with_0() -> None:
    program = """
        import os, signal
        def stop() -> float:
            os.kill(os.getpid(), signal.SIGTERM)
            return 3600.0
        raise SystemExit(run(service(ExtraLoop('extra', stop), port=port, ops_port=ops_port)))
    """
    assert ends(program) == 0


def test_a_lame_duck_is_not_ready_and_still_answers_each_answer_the_last_of_its_connection() -> None:
    program = """
        import http.client, os, signal, threading
        from tests.eventually import eventually

        def status(port, path):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
            try:
                connection.request("GET", path)
                answer = connection.getresponse()
                return answer.status, answer.getheader("connection"), answer.read()
            except OSError:
                return 0, None, b""
            finally:
                connection.close()

        def watch():
            try:
                eventually(lambda: status(ops_port, "/livez")[0] == 200, "it lives")
                eventually(lambda: status(port, "/nothing")[:2] == (404, None), "it answers")
                os.kill(os.getpid(), signal.SIGTERM)
                eventually(lambda: b"stopping" in status(ops_port, "/readyz")[2], "it says that it stops")
                assert status(port, "/nothing")[:2] == (404, "close")
                assert status(ops_port, "/livez")[0] == 200
                eventually(lambda: status(port, "/nothing")[0] == 0, "its port is closed")
            except BaseException:
                os._exit(9)

        watcher = threading.Thread(target=watch)
        watcher.start()
        code = run(service(port=port, ops_port=ops_port, lame_duck_s=3.0))
        watcher.join()
        raise SystemExit(code)
    """
    assert ends(program) == 0


def test_each_port_has_its_own_endpoints_and_strangers_learn_nothing_of_the_process() -> None:
    made = process._Process(service())

    async def main() -> set[int]:
        async with calling(made._service.app) as client:
            paths = ("/livez", "/readyz", "/health", "/metrics", "/v1/dead-letters", "/docs", "/openapi.json")
            return {(await client.get(path)).status_code for path in paths}

    assert asyncio.run(main()) == {404}
