"""Shoppers at one gateway, over HTTP: carts filled before the clock starts, then closed and open loads."""

import asyncio
import time
from collections.abc import Mapping

from benchmarks.load import Run, due_times

from holdfast.local.api_client import ApiClient
from holdfast.local.catalogue import load_prices, load_stock
from holdfast.local.session import Target

SKUS = 2_000
PATIENCE_S = 300.0
WAIT_S = 30


class Shop:
    """Shoppers with full carts at one gateway."""

    def __init__(self, target: Target, lines: int) -> None:
        self._target = target
        self._lines = lines
        self._token = target.keys.token("bench")
        self._gateway = ApiClient(target.gateway, timeout_s=60)
        self._carts: asyncio.Queue[str] = asyncio.Queue()
        self._filled = 0

    async def load(self) -> None:
        operator = self._target.keys.token("bench", operator=True)
        prices = {f"sku-{n:04}": 100 + n for n in range(SKUS)}
        assert self._target.cart
        assert self._target.inventory
        cart, inventory = ApiClient(self._target.cart), ApiClient(self._target.inventory)
        await load_prices(cart, operator, prices, "GBP", PATIENCE_S)
        await load_stock(inventory, operator, prices, 10**9, PATIENCE_S, only_new=False)
        await cart.close()
        await inventory.close()

    async def fill(self, carts: int, side_by_side: int = 32) -> None:
        """Fill carts with `lines` different codes each."""
        names = iter(range(self._filled, self._filled + carts))
        self._filled += carts

        async def some() -> None:
            for n in names:
                lines = [
                    {"sku": f"sku-{(n * 17 + i * 31) % SKUS:04}", "quantity": 1 + i % 3}
                    for i in range(self._lines)
                ]
                response = await self._gateway.ask(
                    "PUT", f"/v1/carts/bench-{n}", self._token, _until(), body={"lines": lines}
                )
                assert response.status < 300, response
                self._carts.put_nowait(f"bench-{n}")

        await asyncio.gather(*(some() for _ in range(side_by_side)))

    async def closed_loop(self, checkouts: int, concurrency: int) -> Run:
        """Keep `concurrency` checkouts under way until all are done."""
        run, turns = Run(), iter(range(checkouts))

        async def shopper() -> None:
            for _ in turns:
                run.latencies_ms.append(await self.buy())

        started = time.perf_counter()
        await asyncio.gather(*(shopper() for _ in range(concurrency)))
        return run.ended(time.perf_counter() - started)

    async def open_loop(self, rate: float, seconds: float) -> Run:
        """Begin `rate` checkouts a second, come what may; a latency counts from when it was due."""
        run, loop = Run(), asyncio.get_running_loop()

        async def shopper(due: float) -> None:
            await self.buy()
            run.latencies_ms.append((loop.time() - due) * 1000)

        started = loop.time()
        async with asyncio.TaskGroup() as group:
            for due in due_times(started, rate, seconds):
                await asyncio.sleep(max(0.0, due - loop.time()))
                group.create_task(shopper(due))
        return run.ended(loop.time() - started)

    async def close(self) -> None:
        await self._gateway.close()

    async def begin(self, card: str = "pm_card_visa") -> str:
        """Start the checkout of a full cart and return its saga."""
        return str((await self._post(card))["saga_id"])

    async def end(self, saga_id: str) -> None:
        """Wait until a checkout is completed; none may fail."""
        state = ""
        while state != "COMPLETED":
            response = await self._gateway.ask(
                "GET",
                f"/v1/checkouts/{saga_id}",
                self._token,
                _until(),
                headers={"prefer": f"wait={WAIT_S}"},
                held_s=WAIT_S,
            )
            state = response.json()["state"]
            assert state != "FAILED", response

    async def buy(self) -> float:
        """Carry one checkout from its POST to COMPLETED; return how many milliseconds that took."""
        started = time.perf_counter()
        answer = await self._post("pm_card_visa", {"prefer": f"wait={WAIT_S}"})
        if answer.get("state") != "COMPLETED":  # an API that does not let a POST wait
            await self.end(str(answer["saga_id"]))
        return (time.perf_counter() - started) * 1000

    async def _post(self, card: str, headers: Mapping[str, str] | None = None) -> dict[str, object]:
        name = self._carts.get_nowait()
        response = await self._gateway.ask(
            "POST",
            "/v1/checkouts",
            self._token,
            _until(),
            body={"cart_id": name, "payment_method": card},
            headers={"idempotency-key": name, **(headers or {})},
            held_s=WAIT_S,
        )
        assert response.status in {200, 201, 202}, response
        answer: dict[str, object] = response.json()
        return answer


def _until() -> float:
    return asyncio.get_running_loop().time() + PATIENCE_S
