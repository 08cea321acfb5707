"""Every process is killed once with SIGKILL, in mid-load; the books balance and nobody is left hanging."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
from tests.e2e.conftest import running
from tests.e2e.shopper import Shopper
from tests.eventually import eventually

from holdfast import audit
from holdfast.contracts.topics import ORCHESTRATOR
from holdfast.local.platform import Platform
from holdfast.local.table import NAMES

UNDER_WAY_MIN = 20
SHOPPERS = 24


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    with running(tmp_path_factory.mktemp("platform"), "postgres") as platform:
        yield platform


class Load:
    """Shoppers who buy one thing after the other until told to stop, whatever answers they get."""

    def __init__(self, platform: Platform) -> None:
        self._info = platform.info
        self._stop = threading.Event()
        self._pool = ThreadPoolExecutor(SHOPPERS)
        self.accepted: list[str] = []
        self._futures = [self._pool.submit(self._shop, number) for number in range(SHOPPERS)]

    def stop(self) -> None:
        self._stop.set()
        for future in self._futures:
            future.result(60)
        self._pool.shutdown()

    def _shop(self, number: int) -> None:
        import httpx2

        shopper = Shopper(self._info, f"shopper-{number}")
        turn = 0
        while not self._stop.is_set():
            turn += 1
            cart_id = f"cart-{number}-{turn}-{id(self)}"
            card = "pm_card_chargeDeclined" if turn % 7 == 0 else "pm_card_visa"
            try:
                shopper.fill(cart_id, {"pen": 1, "ink": 2})
                response = shopper.post(cart_id, card, key=cart_id)
            except (httpx2.HTTPError, AssertionError):
                self._stop.wait(0.05)  # the killed process is the one we talk to
                continue
            if response.status_code == 202:
                self.accepted.append(str(response.json()["saga_id"]))


@pytest.mark.parametrize("name", NAMES)
def test_a_killed_process_loses_nothing(platform: Platform, name: str) -> None:
    load = Load(platform)
    try:
        eventually(lambda: _under_way(platform) >= UNDER_WAY_MIN, "enough sagas are under way", 60)
        restarts = _restarts(platform, name)
        platform.kill(name)
        eventually(lambda: _restarts(platform, name) > restarts, f"{name} is started again", 30)
        platform.wait_ready(60)
    finally:
        load.stop()
    assert load.accepted
    eventually(lambda: _under_way(platform) == 0, "every saga ends", 90)
    report = audit.run(Path(platform.info.data), 90)
    assert report.exit_code == 0, [str(violation) for violation in report.violations]
    missing = set(load.accepted) - _sagas(platform)
    assert not missing, "an acknowledged checkout was lost"


def _query(platform: Platform, statement: str) -> list[tuple[object, ...]]:
    with psycopg.connect(platform.info.services[ORCHESTRATOR].dsn or "") as connection:
        return connection.execute(statement.encode()).fetchall()


def _under_way(platform: Platform) -> int:
    rows = _query(platform, "select count(*) from saga where state not in ('COMPLETED', 'FAILED')")
    count = rows[0][0]
    assert isinstance(count, int)
    return count


def _sagas(platform: Platform) -> set[str]:
    return {str(row[0]) for row in _query(platform, "select saga_id::text from saga")}


def _restarts(platform: Platform, name: str) -> int:
    return next(process.restarts for process in platform.processes() if process.name == name)
