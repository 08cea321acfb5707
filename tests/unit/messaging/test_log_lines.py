"""One line each for what an operator wants to see change: breakers, connections, dead letters."""

from typing import Any

import pytest
from structlog.testing import capture_logs
from tests.samples import saga_id
from tests.unit.messaging.kernel_harness import KernelHarness

from holdfast.bus.port import BusUnavailable
from holdfast.messaging.breaker import Breaker, BreakerSettings
from holdfast.messaging.dead_letters import Actor, DeadLetters
from holdfast.messaging.pool import Pool


def said(lines: list[Any], *names: str) -> list[tuple[str, str]]:
    return [(line["event"], line["log_level"]) for line in lines if line["event"] in names]


def test_a_breaker_tells_each_of_its_moves_once() -> None:
    clock = [0.0]
    breaker = Breaker("publish", (OSError,), BreakerSettings(failures_max=2), lambda: clock[0])

    def fail() -> None:
        with pytest.raises(OSError, match="away"), breaker.guard():
            raise OSError("away")

    with capture_logs() as lines:
        fail()
        fail()
        clock[0] += 60
        with breaker.guard():
            pass
        with breaker.guard():
            pass
    moves = [(line["breaker"], line["state"], line["log_level"]) for line in lines]
    assert moves == [
        ("publish", "open", "warning"),
        ("publish", "half-open", "info"),
        ("publish", "closed", "info"),
    ]


class Connection:
    def close(self) -> None:
        """Nothing is open."""


def test_a_database_that_goes_and_comes_back_is_told_once_each() -> None:
    is_up, clock = [True], [0.0]

    def connect() -> Connection:
        if not is_up[0]:
            raise ConnectionError("refused")
        return Connection()

    pool = Pool(connect, lambda: clock[0], 2)
    with capture_logs() as lines:
        pool.discard(pool.take())
        is_up[0] = False
        for _ in range(3):
            clock[0] += 1
            with pytest.raises(ConnectionError):
                pool.take()
        is_up[0] = True
        clock[0] += 1
        pool.give_back(pool.take())
        pool.give_back(pool.take())
    assert [(line["event"], line["log_level"]) for line in lines] == [
        ("database_connection_lost", "warning"),
        ("database_connected_again", "info"),
    ]


def test_a_bus_that_goes_and_comes_back_is_told_once_each(monkeypatch: pytest.MonkeyPatch) -> None:
    world = KernelHarness()
    consumer = world.manager.consumer
    poll, is_up = consumer.poll, [False]

    def away(*arguments: Any) -> Any:
        if not is_up[0]:
            raise BusUnavailable("no broker")
        return poll(*arguments)

    monkeypatch.setattr(consumer, "poll", away)
    with capture_logs() as lines:
        for _ in range(3):
            world.manager.run_once(0)
        is_up[0] = True
        world.manager.run_once(0)
        world.manager.run_once(0)
    assert said(lines, "bus_connection_lost", "bus_connected_again") == [
        ("bus_connection_lost", "warning"),
        ("bus_connected_again", "info"),
    ]


def test_each_dead_letter_that_is_settled_is_told() -> None:
    world = KernelHarness()
    world.handler.parks = {saga_id(1)}
    world.send(1)
    while world.manager.run_once(0):
        pass
    [row] = world.rows("parked").values()
    letters = DeadLetters(world.processor, lambda: None)
    with capture_logs() as lines:
        letters.redrive([row.place], Actor("olga", "mended"))
        letters.redrive([row.place], Actor("olga", "mended"))
    settled = [line for line in lines if line["event"] == "dead_letter_settled"]
    assert [(line["place"], line["status"], line["operator"]) for line in settled] == [
        (str(row.place), "redriven", "olga")
    ]
