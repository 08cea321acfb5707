"""Redriving in waves: 1, 5, 25, all; waited for, stopped by what comes back, never faster than the rate."""

from collections.abc import Sequence
from typing import Any

import pytest

from holdfast.cli.dlq_redriving import Acting, DeadLetterRow, Result, waves

LETTERS = [
    DeadLetterRow("cart-crud" if n % 3 else "order-create", f"t/0/{n}", "handler_failed") for n in range(100)
]


class FakeServices:
    """Services whose redriven messages are known of after a few looks; some come back."""

    def __init__(self, *, comes_back: Sequence[str] = (), looks: int = 0, silent: bool = False) -> None:
        self.comes_back = set(comes_back)
        self.looks = looks
        self.silent = silent
        self.posts: list[tuple[str, list[str]]] = []
        self._under_way: dict[str, int] = {}
        self._sent: list[tuple[str, str]] = []

    def post(self, service: str, path: str, body: Any) -> Any:
        assert body["reason"] == "mended"
        self.posts.append((path.rpartition("/")[2], body["places"]))
        known = {place for _, place in self._sent}
        done = [place for place in body["places"] if place not in known]
        self._sent += [(service, place) for place in done]
        self._under_way |= dict.fromkeys(done, self.looks)
        skipped = [{"place": place, "why": "redriven"} for place in body["places"] if place in known]
        return {"done": done, "skipped": skipped}

    def get(self, service: str, path: str, params: Any = None) -> Any:
        assert path == "/v1/dead-letters"
        mine = [place for of, place in self._sent if of == service]
        if params["status"] == "redriven":
            rows = [{"place": place} for place in mine if self.silent or self._under_way[place] > 0]
            self._under_way = {place: looks - 1 for place, looks in self._under_way.items()}
        else:
            rows = [
                {"place": place, "outcome": "parked_again", "reason": "handler_failed"}
                for place in mine
                if place in self.comes_back
            ]
        start = int(params.get("after", 0))  # pages of two
        return {"items": rows[start : start + 2], "next": str(start + 2) if start + 2 < len(rows) else None}


class Time:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now += seconds


def acting(services: FakeServices, rate: float = 1e9) -> tuple[Acting, Time]:
    time = Time()
    return Acting(services, "mended", rate, time, time.sleep), time


def test_waves_grow_and_hold_everybody_once() -> None:
    assert [len(wave) for wave in waves(LETTERS, canary=True)] == [1, 5, 25, 69]
    assert [len(wave) for wave in waves(LETTERS[:3], canary=True)] == [1, 2]
    assert [len(wave) for wave in waves(LETTERS, canary=False)] == [100]
    assert [letter for wave in waves(LETTERS, canary=True) for letter in wave] == LETTERS
    assert waves([], canary=True) == []


def test_a_canary_that_lives_goes_through_all_waves() -> None:
    services = FakeServices(looks=3)
    result = acting(services)[0].redrive(LETTERS, 60, canary=True)
    assert sorted(result.done) == sorted(LETTERS)
    assert (result.came_back, result.unknown, result.left) == ([], [], 0)


@pytest.mark.parametrize(("culprit", "done"), [(0, 1), (4, 6), (20, 31), (99, 100)])
def test_the_same_failure_stops_it_at_its_wave(culprit: int, done: int) -> None:
    services = FakeServices(comes_back=[LETTERS[culprit].place], looks=2)
    result = acting(services)[0].redrive(LETTERS, 60, canary=True)
    assert (len(result.done), result.left) == (done, 100 - done)
    assert [letter.place for letter in result.came_back] == [LETTERS[culprit].place]


def test_a_wave_of_which_nothing_is_heard_stops_it_when_the_time_is_up() -> None:
    services = FakeServices(silent=True)
    runner, time = acting(services)
    result = runner.redrive(LETTERS, 60, canary=True)
    assert (result.unknown, result.left) == (LETTERS[:1], 99)
    assert 60 <= time.now < 61


def test_without_a_canary_nothing_is_waited_for() -> None:
    services = FakeServices(silent=True)
    runner, time = acting(services)
    assert len(runner.redrive(LETTERS, 60, canary=False).done) == 100
    assert time.now < 0.001


def test_what_was_redriven_before_is_skipped() -> None:
    services = FakeServices()
    acting(services)[0].redrive(LETTERS[:40], 60, canary=False)
    result = acting(services)[0].redrive(LETTERS, 60, canary=True)
    assert (len(result.done), len(result.skipped)) == (60, 40)


@pytest.mark.parametrize("rate", [0.5, 7.0, 40.0])
def test_it_is_never_faster_than_the_rate(rate: float) -> None:
    services = FakeServices()
    runner, time = acting(services, rate)
    result = Result()
    runner.act("discard", LETTERS, result)
    assert len(result.done) == 100
    largest = max(len(places) for _, places in services.posts)
    assert largest <= max(1, rate)
    assert time.now >= (100 - largest) / rate - 0.001
    assert {verb for verb, _ in services.posts} == {"discard"}
