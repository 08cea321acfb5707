"""A gateway with everything around it in memory: carts, an orchestrator, a bus. For tests of the HTTP API."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import httpx2
from starlette.requests import Request
from starlette.responses import Response
from tests.callers import Caller, authenticator, calling, keys
from tests.origin import publish_as_written

from holdfast.bus.memory import MemoryBus
from holdfast.contracts.codec import encode
from holdfast.contracts.http_api import Cancellation, SagaView, Snapshot
from holdfast.contracts.messages import CheckoutCompleted, CheckoutFailed, Line, Payload
from holdfast.contracts.topics import EVENTS, GATEWAY, ORCHESTRATOR, PARTITIONS_EMBEDDED, all_topics
from holdfast.messaging.components import Ports
from holdfast.messaging.envelope import seal
from holdfast.messaging.memory_store import MemoryStore
from holdfast.runtime.problems import unavailable
from holdfast.services.gateway_bff.admission import CheckoutAdmission
from holdfast.services.gateway_bff.api import app
from holdfast.services.gateway_bff.completion_waiter import CompletionWaiter
from holdfast.services.gateway_bff.load_shedding import LoadLimits
from holdfast.services.gateway_bff.main import GatewayComponents, build
from holdfast.services.gateway_bff.memory_store import MemoryGatewayTransaction
from holdfast.services.gateway_bff.upstream_clients import UpstreamClients

NOW_MS = 1_800_000_000_000
MINUTE_MS = 60_000
WAITED_S_MAX = 300.0
"""How long a request may wait in line: longer than on any busy machine."""


@dataclass
class FakeUpstreams:
    """Carts by (cart id, owner) and sagas by id; `cart_is_down` and `orchestrator_is_down` say so."""

    carts: dict[tuple[str, str], Snapshot] = field(default_factory=dict)
    told: dict[str, SagaView] = field(default_factory=dict)
    cart_is_down: bool = False
    orchestrator_is_down: bool = False
    cancellations: dict[str, Cancellation] = field(default_factory=dict)
    cancelled: list[str] = field(default_factory=list)
    asked: list[list[tuple[str, str]]] = field(default_factory=list)
    forwarded: list[str] = field(default_factory=list)
    before_answer: Callable[[], None] = lambda: None

    async def snapshots(self, carts: Sequence[tuple[str, str]]) -> list[Snapshot]:
        self.asked.append(list(carts))
        if self.cart_is_down:
            raise unavailable("cart-crud")
        taken = [self.carts.get(cart, Snapshot(refused="missing")) for cart in carts]
        self.before_answer()
        return taken

    async def sagas(self, sagas: Sequence[tuple[str, str]]) -> list[SagaView | None]:
        if self.orchestrator_is_down:
            raise unavailable("the orchestrator")
        assert {user for _, user in sagas} <= {"ada", "eve"}, "the gateway says for whom it asks"
        return [self.told.get(saga_id) for saga_id, _ in sagas]

    async def cancel(self, saga_id: str, user_id: str) -> Cancellation:
        if self.orchestrator_is_down:
            raise unavailable("the orchestrator")
        assert user_id == "ada", "the gateway says for whom it cancels"
        self.cancelled.append(saga_id)
        return self.cancellations[saga_id]

    async def forward(self, request: Request) -> Response:
        self.forwarded.append(request.url.path)
        return Response(status_code=200)

    async def close(self) -> None:
        pass


@dataclass
class FakeBreaker:
    """A breaker that is open while the harness's `retry_after_s` is not 0, with `tickets` probes."""

    harness: "GatewayHarness"
    tickets: int = 0

    def retry_after_s(self) -> float:
        return self.harness.retry_after_s

    def reserve_probe(self) -> bool:
        self.tickets -= 1
        return self.tickets >= 0

    def release_probe(self) -> None:
        self.tickets += 1


class GatewayHarness:
    """A gateway and its shoppers."""

    def __init__(self) -> None:
        self.now_ms = NOW_MS
        self.random = iter(range(1, 10_000))
        self.bus = MemoryBus(lambda: self.now_ms / 1000)
        self.bus.create_topics(all_topics(), PARTITIONS_EMBEDDED)
        self.store: MemoryStore[MemoryGatewayTransaction] = MemoryStore(
            MemoryGatewayTransaction, lambda: self.now_ms
        )
        ports = Ports(self.store, self.bus.of(GATEWAY), lambda: self.now_ms, "test", PARTITIONS_EMBEDDED)
        limits = LoadLimits(waited_s_max=WAITED_S_MAX)
        self.parts: GatewayComponents = build(
            cast("Any", ports), lambda: next(self.random) << 62, limits=limits
        )
        self.upstreams = FakeUpstreams()
        self.retry_after_s = 0.0
        self.gate = FakeBreaker(self)
        self.waiting = CompletionWaiter(cast("Any", self.store))
        self.seconds = 0.0
        self.client: httpx2.AsyncClient
        self.ada: Caller
        self.eve: Caller

    def put_cart(
        self, cart_id: str = "c-1", *, user: str = "ada", version: int = 1, price: int = 500, pieces: int = 2
    ) -> None:
        line = Line("mug", pieces, price)
        self.upstreams.carts[cart_id, user] = Snapshot(
            version=version, currency="GBP", total_minor=price * pieces, lines=(line,)
        )

    def published(self, kind: str = "CheckoutInitiated") -> list[tuple[str, bytes, dict[str, bytes]]]:
        """What is on the events topic now: message id, value, headers."""
        while self.parts.relay.run_once(0):
            pass
        consumer = self.bus.consumer(f"reader-{next(self.random)}", [EVENTS])
        records = consumer.poll(1000, 0)
        consumer.close()
        found = [(dict(record.headers), record.value or b"") for record in records]
        return [(h["ce_id"].decode(), value, h) for h, value in found if h["ce_type"].decode() == kind]

    def hear(self, saga_id: str, kind: str, payload: Payload, suffix: str) -> None:
        """Have the orchestrator publish an event, and the gateway read it."""
        message = seal(f"{saga_id}:{suffix}", kind, saga_id, payload, ORCHESTRATOR)
        assert encode(payload) == message.value
        publish_as_written(self.bus, [message])
        while self.parts.manager.run_once(0):
            pass

    def complete(self, saga_id: str, *, version_left: int = 2, saga_version: int = 9) -> None:
        payload = CheckoutCompleted("order-1", 1000, "GBP", version_left, saga_version)
        self.hear(saga_id, "CheckoutCompleted", payload, "completed")

    def fail(self, saga_id: str, reason: str = "out_of_stock", *, saga_version: int = 9) -> None:
        self.hear(saga_id, "CheckoutFailed", CheckoutFailed(reason, saga_version, "secret words"), "failed")

    async def checkout(
        self,
        cart_id: str = "c-1",
        key: str | None = "key-1",
        *,
        by: Caller | None = None,
        card: str = "pm_card_visa",
        **more: object,
    ) -> Any:
        headers = {} if key is None else {"idempotency-key": key}
        body = {"cart_id": cart_id, "payment_method": card, **more}
        return await (by or self.ada).ask("POST", "/v1/checkouts", body, headers=headers)

    async def started(self, cart_id: str = "c-1", key: str = "key-1", *, by: Caller | None = None) -> str:
        """Start a checkout and return its saga id."""
        answer = await self.checkout(cart_id, key, by=by)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["saga_id"])


def run_scenario(
    scenario: Callable[[GatewayHarness], Awaitable[None]], *, real_breaker: bool = False
) -> None:
    """Run a scenario in which ada has a cart c-1; the breaker is a fake unless `real_breaker`."""

    async def main() -> None:
        harness = GatewayHarness()
        harness.put_cart()
        upstreams = cast("UpstreamClients", harness.upstreams)
        waiting = harness.waiting
        harness.parts.manager.after_batch.append(waiting.endings_written)
        with keys() as made:
            admission = CheckoutAdmission(
                cast("Any", harness.store),
                harness.parts.starter,
                upstreams.snapshots,
                harness.parts.breaker if real_breaker else harness.gate,
                harness.parts.load_shedding,
                lambda: time.monotonic() + harness.seconds,
            )
            application = app(cast("Any", harness.store), authenticator(made), admission, upstreams, waiting)
            async with calling(application) as client:
                harness.client = client
                harness.ada, harness.eve = (Caller(client, made.token(user)) for user in ("ada", "eve"))
                await scenario(harness)

    asyncio.run(main())
