"""Shoppers under way while something breaks, what processes say of themselves, and the books afterwards."""

import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx2
import psycopg
from tests.e2e.conftest import ENVIRONMENT, PENS, replay_histories_of
from tests.e2e.shopper import Operator, Shopper
from tests.eventually import eventually

from holdfast import audit
from holdfast.audit import KafkaSource, PostgresSource, Sources
from holdfast.contracts.topics import CART, GATEWAY, INVENTORY, ORCHESTRATOR, ORDER, PAYMENT, SERVICES
from holdfast.local import process_table
from holdfast.local.info import BusInfo
from holdfast.local.platform import Platform
from holdfast.local.process_table import BUS_DATABASE

SHOPPERS = 24
UNDER_WAY_MIN = 20
# Who asks and sends again every second lets a slow machine do nothing else once there is a backlog.
SELDOM = {"HOLDFAST_ASK_EVERY_MS": "20000", "HOLDFAST_DEADLINE_RESEND_AFTER_MS": "5000"}


class Stage:
    """A platform whose services have their databases where `dsn` says: on servers of the test's own.

    `dsn` takes a database and a role, and names the superuser's for one alone.
    """

    def __init__(self, folder: Path, dsn: Callable[..., str], kafka: str | None = None) -> None:
        self.dsn = dsn
        self._kafka = kafka

        def rows(plan: process_table.ProcessPlan) -> list[process_table.ProcessRow]:
            bus = plan.bus if kafka else BusInfo("postgres")
            return process_table.processes(plan._replace(dsn=dsn, bus=bus))

        self.platform = Platform(folder / "data", kafka=kafka, environment=ENVIRONMENT | SELDOM, rows=rows)

    def __enter__(self) -> Self:
        self.platform.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                replay_histories_of(self.dsn(process_table.database(ORCHESTRATOR)))
        finally:
            self.platform.stop()

    def open_shop(self) -> None:
        """Wait until everything is ready, and put something on the shelves."""
        self.platform.wait_ready(180)
        Operator(self.platform.info).stock(PENS)

    def statuses(self, path: str) -> dict[str, int]:
        """Ask every service's `/livez` or `/readyz`; 0 where nothing answers."""
        with ThreadPoolExecutor(len(SERVICES)) as pool:
            return dict(zip(SERVICES, pool.map(lambda name: self._status(name, path), SERVICES), strict=True))

    def await_all(self, path: str, status: int, what: str, timeout_s: float = 180) -> None:
        eventually(lambda: set(self.statuses(path).values()) == {status}, what, timeout_s)

    def restarts(self) -> int:
        return sum(service.restarts for service in self.platform.info.services.values())

    def query(
        self, service: str, statement: str, parameters: Sequence[Any] | None = None
    ) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.dsn(process_table.database(service)), connect_timeout=5) as connection:
            return connection.execute(statement.encode(), parameters).fetchall()

    def under_way(self) -> int:
        """Return how many sagas have not ended; 0 while the database does not say."""
        try:
            statement = "select count(*) from saga where state not in ('COMPLETED', 'FAILED')"
            return int(self.query(ORCHESTRATOR, statement)[0][0])
        except psycopg.OperationalError:
            return 0

    def open_checkouts(self) -> int:
        """Return how many checkouts the gateway has not seen the end of; raises while it cannot be read."""
        statement = "select count(*) from checkout where last_status not in ('COMPLETED', 'FAILED')"
        return int(self.query(GATEWAY, statement)[0][0])

    def ended(self, sagas: Sequence[str]) -> int:
        """Return of how many of these the gateway has seen the end."""
        statement = """
            select count(*) from checkout
             where saga_id = any(%s::uuid[]) and last_status in ('COMPLETED', 'FAILED')"""
        return int(self.query(GATEWAY, statement, [list(sagas)])[0][0])

    def assert_sound(self, accepted: Iterable[str], timeout_s: float = 180) -> None:
        """Wait for every end, then look into the books: nothing lost, nothing doubled, nothing parked."""
        eventually(lambda: self.open_checkouts() == 0, "every checkout ends", timeout_s)
        report = audit.run_on(self._sources(), 90)
        assert report.exit_code == 0, (report.quiet, [str(violation) for violation in report.violations])
        assert report.parked == []
        sagas = {str(row[0]) for row in self.query(ORCHESTRATOR, "select saga_id::text from saga")}
        assert not set(accepted) - sagas, "an acknowledged checkout was lost"
        reasons = self.query(ORCHESTRATOR, "select distinct reason from saga where state = 'FAILED'")
        assert {reason for (reason,) in reasons} <= {"payment_declined"}, "none failed for a reason of ours"

    def _status(self, name: str, path: str) -> int:
        try:
            url = self.platform.info.services[name].ops_url + path
            return httpx2.get(url, timeout=5, trust_env=False).status_code
        except httpx2.HTTPError:
            return 0

    def _sources(self) -> Sources:
        of = {name: self.dsn(process_table.database(name)) for name in SERVICES}
        return Sources(
            gateway=of[GATEWAY],
            orchestrator=of[ORCHESTRATOR],
            inventory=of[INVENTORY],
            payment=of[PAYMENT],
            order=of[ORDER],
            cart=of[CART],
            bus=KafkaSource(self._kafka) if self._kafka else PostgresSource(self.dsn(BUS_DATABASE)),
            ledger=self.platform.folder.ledger,
        )


class Traffic:
    """Shoppers who buy one thing after the other, whatever answers they get, until this is left.

    Once enough is under way each waits a while for its end before it buys on, so that no hill grows.
    Meanwhile every `/livez` is asked; `dead` names those that were not green. `refused` counts the answers
    503 since a checkout was last accepted.
    """

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._stop = threading.Event()
        self._pool = ThreadPoolExecutor(SHOPPERS + 1)
        self._patient = threading.Event()
        self.accepted: list[str] = []
        self.refused = 0
        self.dead: set[tuple[str, int]] = set()

    def __enter__(self) -> Self:
        self._futures = [self._pool.submit(self._shop, number) for number in range(SHOPPERS)]
        self._futures.append(self._pool.submit(self._watch))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._pool.shutdown()
        if kind is None:
            for future in self._futures:
                future.result()

    def await_under_way(self, count: int = UNDER_WAY_MIN) -> None:
        eventually(lambda: self._stage.under_way() >= count, "enough sagas are under way", 180)
        self._patient.set()

    def await_more(self, timeout_s: float = 180) -> None:
        """Wait until checkouts are accepted again."""
        before = len(self.accepted)
        eventually(lambda: len(self.accepted) >= before + 10, "checkouts are accepted again", timeout_s)

    def await_ends(self, timeout_s: float = 300) -> None:
        """Wait until checkouts that are accepted from now on have come to their end: all of the way works."""
        before = len(self.accepted)
        self.await_more(timeout_s)
        eventually(
            lambda: self._stage.ended(self.accepted[before:]) >= 10, "new checkouts come to an end", timeout_s
        )

    def await_refusal(self, timeout_s: float = 180) -> None:
        """Wait until the gateway accepts no checkout but a probe."""
        eventually(lambda: self.refused >= 2 * SHOPPERS, "new checkouts are refused", timeout_s)

    def _shop(self, number: int) -> None:
        shopper = Shopper(self._stage.platform.info, f"shopper-{number}")
        turn = 0
        while not self._stop.is_set():
            turn += 1
            cart_id = f"cart-{number}-{turn}-{id(self)}"
            card = "pm_card_chargeDeclined" if turn % 7 == 0 else "pm_card_visa"
            with suppress(httpx2.HTTPError, AssertionError):
                shopper.fill(cart_id, {"pen": 1, "ink": 2})
                response = shopper.post(cart_id, card, key=cart_id)
                if response.status_code == 202:
                    saga_id = str(response.json()["saga_id"])
                    self.accepted.append(saga_id)
                    self.refused = 0
                    if self._patient.is_set():
                        shopper.end_of(saga_id, asks_max=1)
                    continue
                self.refused += response.status_code == 503
            self._stop.wait(0.05)

    def _watch(self) -> None:
        while not self._stop.wait(0.5):
            self.dead |= {each for each in self._stage.statuses("/livez").items() if each[1] != 200}
