"""Worker threads: they go on, rest, are woken, stop after their round, and never die quietly."""

import threading

import pytest
from structlog.testing import capture_logs

from holdfast.runtime import loops
from holdfast.runtime.loops import Loop

SOON_S = 30.0


@pytest.fixture
def died() -> threading.Event:
    return threading.Event()


def test_it_goes_round_until_it_is_told_to_stop_and_drains_once(died: threading.Event) -> None:
    rounds, third, drained = iter(range(10_000_000)), threading.Event(), []

    def round_() -> float:
        if next(rounds) == 2:
            third.set()
        return 0.0

    loop = Loop("busy", round_, died.set, lambda: drained.append("drained"))
    loop.start()
    assert third.wait(SOON_S)
    assert loop.is_well()
    loop.stop()
    assert loop.join(SOON_S)
    assert (drained, loop.dead, died.is_set()) == (["drained"], False, False)


def test_a_resting_loop_is_woken_and_stopped_at_once(died: threading.Event) -> None:
    begun = threading.Semaphore(0)

    def round_() -> float:
        begun.release()
        return 3_600.0

    loop = Loop("idle", round_, died.set)
    loop.start()
    assert begun.acquire(timeout=SOON_S)
    loop.wake()
    assert begun.acquire(timeout=SOON_S), "it goes round again"
    loop.stop()
    assert loop.join(SOON_S)


@pytest.mark.parametrize("error", [ZeroDivisionError("a bug"), SystemExit(3), MemoryError()])
def test_a_round_that_raises_ends_its_loop_and_the_process_is_told(
    died: threading.Event, error: BaseException
) -> None:
    def round_() -> float:
        raise error

    loop = Loop("sick", round_, died.set)
    assert loop.is_well()
    with capture_logs() as logs:
        loop.start()
        assert loop.join(SOON_S)
    assert died.is_set()
    assert (loop.dead, loop.is_well()) == (True, False)
    assert [(line["event"], line["loop"]) for line in logs] == [("loop_died", "sick")]


def test_a_drain_that_raises_is_a_death_too(died: threading.Event) -> None:
    def drain() -> None:
        raise ZeroDivisionError

    loop = Loop("sick", lambda: 0.01, died.set, drain)
    loop.start()
    loop.stop()
    assert loop.join(SOON_S)
    assert died.is_set()
    assert not loop.is_well()


def test_a_round_that_never_ends_is_not_well(died: threading.Event, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def round_() -> float:
        begun.set()
        go_on.wait(SOON_S)
        return 0.0

    loop = Loop("stuck", round_, died.set)
    loop.start()
    assert begun.wait(SOON_S)
    assert loop.is_well()
    monkeypatch.setattr(loops, "STUCK_AFTER_S", 0.0)
    assert not loop.is_well()
    assert not loop.join(0.01), "its round goes on"
    loop.stop()
    go_on.set()
    assert loop.join(SOON_S)
