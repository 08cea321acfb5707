"""An orchestrator that is asked over HTTP, with a whole platform in memory around it."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any, cast

import httpx2
from tests.callers import Caller, authenticator, calling, gateway_token, keys, service_authenticator, whole
from tests.memory_platform import MemoryPlatform

from holdfast.contracts.topics import ORCHESTRATOR
from holdfast.services.checkout_orchestrator.api import apps

PIECES = (("A", 2),)
MINUTE_MS, HOUR_MS = 60_000, 3_600_000


class OrchestratorHarness:
    """A platform in memory whose orchestrator is asked over HTTP; its writer works while it is asked."""

    def __init__(self) -> None:
        self.platform = MemoryPlatform({"A": 1_000})
        self.client: httpx2.AsyncClient
        self.olga: Caller
        self.looker: Caller
        self.ada: Caller
        self.gateway: Caller
        self.writer_is_off = False

    def buy(self, saga: str) -> str:
        self.platform.put_cart(f"cart-{saga}", PIECES)
        self.platform.initiate(saga, PIECES)
        return saga

    def forward(self, steps: int) -> None:
        """Let the saga that is under way get this many answers; with 0 it awaits the first."""
        orchestrator, payment, inventory, order, cart = self.platform.parts
        self._orchestrate()
        for parts in (inventory, payment, order, cart)[:steps]:
            parts.manager.run_once(0)
            if parts is payment:
                self.platform.payment.charge_loop.run_once()
            parts.relay.run_once(0)
            self._orchestrate()
        assert orchestrator.relay.is_idle()

    def _orchestrate(self) -> None:
        self.platform.orchestrator.manager.run_once(0)
        self.platform.orchestrator.relay.run_once(0)

    async def ask(self, caller: Caller, method: str, path: str, body: object = None) -> httpx2.Response:
        """Ask, with a writer that serves the request on another thread."""
        request = asyncio.create_task(caller.ask(method, path, body))
        stop = threading.Event()

        def serve() -> None:
            while not stop.wait(0.001):
                self.platform.orchestrator.manager.tasks.serve_requests(self.platform.orchestrator.manager)

        writer = threading.Thread(target=serve)
        if not self.writer_is_off:
            writer.start()
        try:
            return await request
        finally:
            stop.set()
            if not self.writer_is_off:
                await asyncio.to_thread(writer.join)

    async def act(self, saga: str, verb: str, *, by: Caller | None = None) -> httpx2.Response:
        return await self.ask(by or self.olga, "POST", f"/v1/sagas/{saga}/{verb}", {"reason": "at 3 a.m."})

    async def cancel(self, saga: str, by: Caller | None = None, *, user: str = "ada") -> httpx2.Response:
        """Cancel as the gateway does it for a user."""
        body = {"saga_id": saga, "user_id": user}
        return await self.ask(by or self.gateway, "POST", "/internal/v1/sagas/cancel", body)

    async def told(self, saga: str, user: str = "ada") -> Any:
        """Return what the gateway is told of a user's saga."""
        body = {"sagas": [{"saga_id": saga, "user_id": user}]}
        answer = await self.ask(self.gateway, "POST", "/internal/v1/sagas", body)
        assert answer.status_code == 200, answer.text
        [saga_told] = answer.json()["sagas"]
        return saga_told

    async def listed(self, query: str = "") -> list[str]:
        answer = await self.ask(self.looker, "GET", f"/v1/sagas{query}")
        assert answer.status_code == 200, answer.text
        return [item["saga_id"] for item in answer.json()["items"]]

    async def shown(self, saga: str) -> Any:
        answer = await self.ask(self.looker, "GET", f"/v1/sagas/{saga}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    def actions(self) -> list[tuple[str, str, str, str]]:
        return [tuple(a) for _, a in self.platform.sagas.tables.tables.get("operator_actions", {}).values()]


def run_scenario(scenario: Callable[[OrchestratorHarness], Awaitable[None]]) -> None:
    async def main() -> None:
        harness = OrchestratorHarness()
        parts = harness.platform.orchestrator
        with keys() as made:
            store = cast("Any", harness.platform.sagas)
            services = service_authenticator(made, ORCHESTRATOR)
            application = whole(
                apps(store, authenticator(made), services, cast("Any", parts), parts.checkout_service)
            )
            async with calling(application) as client:
                harness.client = client
                harness.olga = Caller(client, made.token("olga", operator=True))
                harness.looker = harness.olga
                harness.ada = Caller(client, made.token("ada"))
                harness.gateway = Caller(client, gateway_token(made, ORCHESTRATOR))
                await scenario(harness)

    asyncio.run(main())
