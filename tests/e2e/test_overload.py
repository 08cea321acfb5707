"""A retry storm on a running platform: who is shed hears it soon, what was accepted ends, then it is over."""

import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from uuid import uuid4

import httpx2
import psycopg
import pytest
from tests.e2e.conftest import ENVIRONMENT, PENS
from tests.e2e.load import all_ends_well
from tests.e2e.shopper import Operator, Shopper
from tests.eventually import eventually

from holdfast.contracts.topics import GATEWAY
from holdfast.local.keys import Keys
from holdfast.local.platform import Platform

UNDER_WAY_MAX = 30
CARTS = 600
STORMERS = 150
GIVES_UP_AFTER_S = 1.0
BACK_WITHIN_S = 60.0


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """A platform that lets in few at a time, so that this machine can make the storm, too."""
    folder = tmp_path_factory.mktemp("platform") / "data"
    environment = ENVIRONMENT | {"HOLDFAST_UNDER_WAY_MAX": str(UNDER_WAY_MAX)}
    with Platform(folder, environment=environment) as platform:
        platform.wait_ready(90)
        Operator(platform.info).stock(PENS)
        yield platform


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
        self.accepted: dict[str, str] = {}

    async def rage(self) -> None:
        """Have every cart posted again and again until it is accepted."""
        carts = [f"cart-{uuid4().hex[:12]}" for _ in range(CARTS)]
        body = {"lines": [{"sku": "pen", "quantity": 1}]}
        for cart_id in carts:
            response = await self._client.put(f"/v1/carts/{cart_id}", json=body, timeout=30)
            assert response.status_code == 200, response.text
        left = iter(carts)
        await asyncio.gather(*(self._stormer(left) for _ in range(STORMERS)))
        await self._client.aclose()

    async def _stormer(self, left: Iterator[str]) -> None:
        for cart_id in left:
            while not await self._tried(cart_id):
                pass

    async def _tried(self, cart_id: str) -> bool:
        body = {"cart_id": cart_id, "payment_method": "pm_card_visa"}
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
    storm = Storm(platform)
    asyncio.run(storm.rage())
    assert set(storm.answers) <= {0, 202, 503}, storm.answers
    assert storm.answers[503] > CARTS // 2, storm.answers
    assert storm.retry_after <= {"1", "2", "3", "4"}
    assert _mean_s(platform, "503") < GIVES_UP_AFTER_S / 2, "who is turned away hears it while he listens"
    assert len(storm.accepted) == CARTS
    shopper = Shopper(platform.info)
    over = time.monotonic()
    saga_id = _let_in(shopper, "the door opens by itself when the storm is over")
    assert shopper.end_of(saga_id)["state"] == "COMPLETED"
    assert time.monotonic() - over < BACK_WITHIN_S
    all_ends_well(platform, list(storm.accepted.values()))


def test_while_the_database_is_down_the_door_says_so_at_once(platform: Platform) -> None:
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
    text = httpx2.get(f"{platform.info.services[GATEWAY].url}/metrics", trust_env=False).text
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
