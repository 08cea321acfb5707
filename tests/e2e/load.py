"""Shoppers in numbers, and what became of their checkouts: the load under which things are killed."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import psycopg
from tests.e2e.shopper import Shopper
from tests.eventually import eventually

from holdfast import audit
from holdfast.contracts.topics import ORCHESTRATOR
from holdfast.local.platform import Platform
from holdfast.local.process_table import database
from holdfast.runtime.process import POLL_S

UNDER_WAY_MIN = 20
SHOPPERS = 24
LULL_S = 2 * POLL_S


class Load:
    """Shoppers who buy one thing after the other until told to stop, whatever answers they get.

    `patient` ones wait a while for the end before they buy on: then no hill grows, however slow the machine.
    """

    def __init__(self, platform: Platform, shoppers: int = SHOPPERS, *, patient: bool = False) -> None:
        self._info = platform.info
        self._patient = patient
        self._stop = threading.Event()
        self._lull = threading.Event()
        self._pool = ThreadPoolExecutor(shoppers)
        self.accepted: list[str] = []
        self._futures = [self._pool.submit(self._shop, number) for number in range(shoppers)]

    def lull(self) -> None:
        """Let one shopper alone buy until `go_on`, slowly, so that services fall idle after what they did."""
        self._lull.set()

    def go_on(self) -> None:
        """Undo `lull`."""
        self._lull.clear()

    def stop(self) -> None:
        self._stop.set()
        for future in self._futures:
            future.result(60)
        self._pool.shutdown()

    def _shop(self, number: int) -> None:
        shopper = Shopper(self._info, f"shopper-{number}")
        turn = 0
        while not self._stop.is_set():
            lull = self._lull.is_set()
            if lull and (self._stop.wait(LULL_S) or number > 0):
                continue
            turn += 1
            cart_id = f"cart-{number}-{turn}-{id(self)}"
            card = "pm_card_chargeDeclined" if turn % (3 if lull else 7) == 0 else "pm_card_visa"
            # What the limit of an order's total refuses is refunded.
            pieces = {"pen": 4001} if turn % (2 if lull else 11) == 0 else {"pen": 1, "ink": 2}
            try:
                shopper.fill(cart_id, pieces)
                response = shopper.post(cart_id, card, key=cart_id)
                if response.status_code == 202:
                    saga_id = str(response.json()["saga_id"])
                    self.accepted.append(saga_id)
                    if self._patient:
                        shopper.end_of(saga_id, asks_max=1)
            except (httpx2.HTTPError, AssertionError):
                self._stop.wait(0.05)  # the killed process is the one we talk to


def query(platform: Platform, statement: str, service: str = ORCHESTRATOR) -> list[tuple[object, ...]]:
    """Read a service's database."""
    with psycopg.connect(platform.postgres.dsn(database(service))) as connection:
        return connection.execute(statement.encode()).fetchall()


def under_way(platform: Platform) -> int:
    """Count the sagas that have not ended."""
    rows = query(platform, "select count(*) from saga where state not in ('COMPLETED', 'FAILED')")
    count = rows[0][0]
    assert isinstance(count, int)
    return count


def restarts(platform: Platform, name: str) -> int:
    """Count how often the supervisor has started this process again."""
    return platform.info.services[name].restarts


def all_ends_well(platform: Platform, accepted: list[str], within_s: float = 90) -> None:
    """Wait until every saga has ended; fail where the books do not balance or an accepted one is lost."""
    assert accepted
    eventually(lambda: under_way(platform) == 0, "every saga ends", within_s)
    report = audit.run(Path(platform.info.data), within_s)
    assert report.exit_code == 0, (report.quiet, [str(violation) for violation in report.violations])
    known = {str(row[0]) for row in query(platform, "select saga_id::text from saga")}
    assert not set(accepted) - known, "an acknowledged checkout was lost"
