"""A retry storm on a running platform: who is shed hears it soon, what was accepted ends, then it is over."""

import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from threading import Event
from typing import NamedTuple
from uuid import uuid4

import httpx2
import psycopg
import pytest
from tests.e2e.conftest import ENVIRONMENT, PENS, replay_histories
from tests.e2e.load import all_ends_well, query
from tests.e2e.shopper import Operator, Shopper
from tests.eventually import eventually

from holdfast.contracts.topics import GATEWAY
from holdfast.local.keys import Keys
from holdfast.local.platform import Platform
from holdfast.local.process_table import database

UNDER_WAY_MAX = 20
CARTS = 300
STORMERS = 80
GIVES_UP_AFTER_S = 1.0
BACK_WITHIN_S = 60.0
BUYERS = 4
WINDOW_S = 4.0
GOODPUT_BACK = 0.8
READ_EVERY_S = 0.05
DECLINED, TOO_DEAR = "payment_declined", "order_total_above_limit"


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """A platform that lets in few at a time, so that this machine can make the storm, too."""
    folder = tmp_path_factory.mktemp("platform") / "data"
    environment = ENVIRONMENT | {"HOLDFAST_UNDER_WAY_MAX": str(UNDER_WAY_MAX)}
    with Platform(folder, environment=environment) as platform:
        platform.wait_ready(90)
        Operator(platform.info).stock(PENS)
        yield platform
        replay_histories(platform)


class Basket(NamedTuple):
    """What a stormer wants; `ends` is the reason for which it fails, if it does."""

    pens: int = 1
    card: str = "pm_card_visa"
    ends: str = ""


REFUNDED = Basket(pens=4001, ends=TOO_DEAR)
REFUSED = Basket(card="pm_card_chargeDeclined", ends=DECLINED)


class Storm:
    """Shoppers who give up after a second and come back at once, whatever `Retry-After` says."""

    def __init__(self, platform: Platform) -> None:
        info = platform.info
        token = Keys(info.folder.keys).token("ada")
        self._client = httpx2.AsyncClient(
            base_url=info.services[GATEWAY].url,
            headers={"Authorization": f"Bearer {token}"},
            timeout=GIVES_UP_AFTER_S,
            trust_env=False,
            limits=httpx2.Limits(max_connections=STORMERS + 10),
        )
        self.answers: Counter[int] = Counter()
        self.retry_after: set[str] = set()
        self.reads: Counter[int] = Counter()
        self.accepted: dict[str, str] = {}
        self.baskets: dict[str, Basket] = {}

    async def rage(self) -> None:
        """Have every cart posted again and again until it is accepted."""
        for number in range(CARTS):
            basket = REFUSED if number % 20 == 3 else REFUNDED if number % 25 == 7 else Basket()
            cart_id = f"cart-{uuid4().hex[:12]}"
            body = {"lines": [{"sku": "pen", "quantity": basket.pens}]}
            response = await self._client.put(f"/v1/carts/{cart_id}", json=body, timeout=30)
            assert response.status_code == 200, response.text
            self.baskets[cart_id] = basket
        left, over = iter(self.baskets), asyncio.Event()
        reader = asyncio.create_task(self._read(over))
        await asyncio.gather(*(self._stormer(left) for _ in range(STORMERS)))
        over.set()
        await reader
        await self._client.aclose()

    def sagas(self, reason: str) -> set[str]:
        """Return those whose cart ends for this reason."""
        return {saga for cart_id, saga in self.accepted.items() if self.baskets[cart_id].ends == reason}

    async def _read(self, over: asyncio.Event) -> None:
        """Ask for one checkout after the other, new ones and old ones."""
        turn = 0
        while not over.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(over.wait(), READ_EVERY_S)
            if self.accepted:
                turn += 1
                known = list(self.accepted.values())
                saga_id = known[-1] if turn % 2 else known[turn % len(known)]
                response = await self._client.get(f"/v1/checkouts/{saga_id}", timeout=30)
                self.reads[response.status_code] += 1

    async def _stormer(self, left: Iterator[str]) -> None:
        for cart_id in left:
            while not await self._tried(cart_id):
                pass

    async def _tried(self, cart_id: str) -> bool:
        body = {"cart_id": cart_id, "payment_method": self.baskets[cart_id].card}
        try:
            response = await self._client.post(
                "/v1/checkouts", json=body, headers={"Idempotency-Key": cart_id}
            )
        except httpx2.HTTPError:
            self.answers[0] += 1
            return False
        self.answers[response.status_code] += 1
        if response.status_code == 503:
            self.retry_after.add(response.headers["retry-after"])
        elif response.status_code == 202:
            self.accepted[cart_id] = response.json()["saga_id"]
        return response.status_code == 202


def test_a_retry_storm_passes(platform: Platform) -> None:
    before = min(goodput(platform), goodput(platform))
    assert before > 0
    storm = Storm(platform)
    asyncio.run(storm.rage())
    over, undone = time.monotonic(), ended(platform)
    assert set(storm.answers) <= {0, 202, 408, 503}, storm.answers  # 408: a stormer fell asleep as he sent
    assert sum(storm.answers.values()) > 2 * CARTS, f"this was no storm: {storm.answers}"
    assert storm.answers[503], storm.answers
    assert storm.retry_after <= {"1", "2", "3", "4"}
    assert _mean_s(platform, "503") < GIVES_UP_AFTER_S / 2, "who is turned away hears it while he listens"
    assert len(storm.accepted) == CARTS
    assert set(storm.reads) == {200}, "who asks how his checkout stands is told all the time"
    for reason in (DECLINED, TOO_DEAR):
        assert storm.sagas(reason) & undone[reason], f"{reason} ended while the storm raged"
    after = [goodput(platform)]
    while max(after) < GOODPUT_BACK * before and time.monotonic() - over < BACK_WITHIN_S:
        after.append(goodput(platform))
    assert max(after) >= GOODPUT_BACK * before, f"goodput was {before}, and is {after}"
    all_ends_well(platform, list(storm.accepted.values()))
    undone = ended(platform)
    assert {reason: undone[reason] for reason in (DECLINED, TOO_DEAR)} == {
        reason: storm.sagas(reason) for reason in (DECLINED, TOO_DEAR)
    }
    assert set(undone) == {DECLINED, TOO_DEAR}, "no other failed"


def ended(platform: Platform) -> dict[str, set[str]]:
    """Return the sagas that were undone so far, by reason."""
    found: dict[str, set[str]] = {DECLINED: set(), TOO_DEAR: set()}
    for saga_id, reason in query(platform, "select saga_id::text, reason from saga where state = 'FAILED'"):
        found.setdefault(str(reason), set()).add(str(saga_id))
    return found


def goodput(platform: Platform) -> float:
    """Return how many checkouts a second complete for a few shoppers who buy one after the other."""
    until = time.monotonic() + WINDOW_S

    def buy_on(number: int) -> int:
        shopper, completed = Shopper(platform.info, f"buyer-{number}"), 0
        while time.monotonic() < until:
            saga_id = _let_in(shopper, "the door opens by itself when the storm is over")
            state = shopper.end_of(saga_id)["state"]
            completed += state == "COMPLETED" and time.monotonic() < until
        return completed

    with ThreadPoolExecutor(BUYERS) as pool:
        return sum(pool.map(buy_on, range(BUYERS))) / WINDOW_S


def test_while_the_database_is_down_the_gateway_says_so_at_once(platform: Platform) -> None:
    shopper = Shopper(platform.info)
    shopper.end_of(_let_in(shopper, "the door is open"))
    cart_id = f"cart-{uuid4().hex[:12]}"
    shopper.fill(cart_id, {"pen": 1})
    with psycopg.connect(platform.postgres.dsn("postgres"), autocommit=True) as connection:
        connection.execute("alter database gateway_bff allow_connections false")
        try:
            connection.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity where datname = 'gateway_bff'"
            )
            took = [_refused_in(shopper, cart_id) for _ in range(20)]
        finally:
            connection.execute("alter database gateway_bff allow_connections true")
    assert sorted(took)[len(took) // 2] < 0.1
    assert max(took) < 3
    eventually(lambda: shopper.post(cart_id, key="after").status_code == 202, "it is back", 30)
    saga_id = str(shopper.post(cart_id, key="after").json()["saga_id"])
    assert shopper.end_of(saga_id)["state"] == "COMPLETED"


def test_status_reads_keep_connections_of_their_own(platform: Platform) -> None:
    """All that the gateway writes waits for a lock, and keeps its connections; who only asks is answered."""
    shopper = Shopper(platform.info)
    saga_id = _let_in(shopper, "the door is open")
    shopper.end_of(saga_id)
    carts = [f"cart-{uuid4().hex[:12]}" for _ in range(10)]
    for cart_id in carts:
        shopper.fill(cart_id, {"pen": 1})
    locked = Event()
    with ThreadPoolExecutor(len(carts)) as pool:
        with psycopg.connect(platform.postgres.dsn(database(GATEWAY))) as blocker:
            blocker.execute("lock table outbox in access exclusive mode")
            locked.set()
            posts = [pool.submit(_post_while, locked, shopper, cart_id) for cart_id in carts]
            try:
                eventually(lambda: _waiting_for_locks(platform) >= 2, "the writer and the door wait", 30)
                for _ in range(20):
                    assert shopper.look(saga_id)["state"] == "COMPLETED"
                eventually(lambda: _waiting_for_locks(platform) >= 2, "they still wait", 30)
            finally:
                locked.clear()
        assert {status for post in posts for status in post.result(60)} <= {202, 503}
    all_ends_well(platform, [saga_id])


def _post_while(locked: Event, shopper: Shopper, cart_id: str) -> set[int]:
    """Post a cart again and again while the table is locked, since each gives up soon; return the answers."""
    answers = set()
    while locked.is_set():
        answers.add(shopper.post(cart_id, key=cart_id).status_code)
    return answers


def _waiting_for_locks(platform: Platform) -> int:
    statement = (
        "select count(*) from pg_stat_activity where datname = current_database()"
        f" and wait_event_type = 'Lock' and application_name = '{GATEWAY}'"
    )
    [(count,)] = query(platform, statement, GATEWAY)
    assert isinstance(count, int)
    return count


def _let_in(shopper: Shopper, what: str) -> str:
    """Buy a pen as one who comes back when he is turned away; return the saga id.

    What the storm left may still fill the platform, and the door counts only once a second.
    """
    cart_id = f"cart-{uuid4().hex[:12]}"
    shopper.fill(cart_id, {"pen": 1})
    answers: list[httpx2.Response] = []

    def let_in() -> bool:
        answers.append(shopper.post(cart_id, key=cart_id))
        assert answers[-1].status_code in {202, 503}, answers[-1].text
        return answers[-1].status_code == 202

    eventually(let_in, what, BACK_WITHIN_S)
    return str(answers[-1].json()["saga_id"])


def _mean_s(platform: Platform, status: str) -> float:
    """Return how long the gateway took on average to answer a checkout with this status."""
    text = httpx2.get(f"{platform.info.services[GATEWAY].ops_url}/metrics", trust_env=False).text
    found = {"sum": 0.0, "count": 0.0}
    for line in text.splitlines():
        for what in found:
            if line.startswith(f"http_server_request_duration_seconds_{what}{{") and (
                f'method="POST",route="/v1/checkouts",status="{status}"' in line
            ):
                found[what] = float(line.rsplit(" ", 1)[1])
    return found["sum"] / found["count"]


def _refused_in(shopper: Shopper, cart_id: str) -> float:
    began = time.perf_counter()
    response = shopper.post(cart_id)
    assert (response.status_code, response.json()["code"]) == (503, "dependency_unavailable")
    assert response.headers["retry-after"]
    return time.perf_counter() - began
