"""Shoppers at one gateway, over HTTP: carts filled before the clock starts, then closed and open loads."""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from benchmarks.load import Run, closed_load, open_load

from holdfast.local.api_client import ApiClient
from holdfast.local.catalogue import load_prices, load_stock
from holdfast.local.session import Target

SKUS = 2_000
USER = "bench"
STOCK_AMPLE = 10**9
PATIENCE_S = 300.0
WAIT_S = 30

CartLine = tuple[str, int, int]
"""A code, pieces, and what a piece costs."""


def price_of(number: int) -> int:
    return 100 + number


def cart_lines(number: int, lines: int) -> list[CartLine]:
    """Return the lines of a cart: different codes, which neighbouring carts do not share."""
    skus = [(number * 17 + i * 31) % SKUS for i in range(lines)]
    return [(f"sku-{sku:04}", 1 + i % 3, price_of(sku)) for i, sku in enumerate(skus)]


class Shop:
    """Shoppers with full carts at one gateway. `retries` counts requests that had to be repeated."""

    def __init__(self, target: Target, lines: int = 3) -> None:
        self._target = target
        self._lines = lines
        self._token = target.keys.token(USER)
        self._gateway = ApiClient(target.gateway, timeout_s=60)
        self._carts: asyncio.Queue[str] = asyncio.Queue()
        self._filled = 0
        self.ends: Counter[str] = Counter()

    @property
    def retries(self) -> int:
        return self._gateway.retries

    async def load(self) -> None:
        """Set the prices and an ample stock of all codes."""
        await self.load_product({f"sku-{n:04}": price_of(n) for n in range(SKUS)}, STOCK_AMPLE)

    async def load_product(self, prices: Mapping[str, int], pieces: int) -> None:
        """Set prices, and so many pieces of each in stock."""
        operator = self._target.keys.token(USER, operator=True)
        assert self._target.cart
        assert self._target.inventory
        cart, inventory = ApiClient(self._target.cart), ApiClient(self._target.inventory)
        await load_prices(cart, operator, dict(prices), "GBP", PATIENCE_S)
        await load_stock(inventory, operator, prices, pieces, PATIENCE_S, only_new=False)
        await cart.close()
        await inventory.close()

    async def fill(
        self,
        carts: int,
        lines_of: Callable[[int], Sequence[CartLine]] | None = None,
        side_by_side: int = 32,
    ) -> None:
        """Fill carts, by default with different codes each."""
        names = iter(range(self._filled, self._filled + carts))
        self._filled += carts

        async def some() -> None:
            for n in names:
                chosen = lines_of(n) if lines_of else cart_lines(n, self._lines)
                body = {"lines": [{"sku": sku, "quantity": quantity} for sku, quantity, _ in chosen]}
                path = f"/v1/carts/bench-{n}"
                response = await self._gateway.ask("PUT", path, self._token, _until(), body=body)
                assert response.status < 300, response
                self._carts.put_nowait(f"bench-{n}")

        await asyncio.gather(*(some() for _ in range(side_by_side)))

    async def closed_load(self, checkouts: int, in_flight: int) -> Run:
        """Keep so many checkouts under way until all are done."""
        return await closed_load(self.buy, checkouts, in_flight)

    async def open_load(self, rate: float, seconds: float) -> Run:
        """Begin `rate` checkouts a second, come what may."""
        return await open_load(self.buy, rate, seconds)

    async def close(self) -> None:
        await self._gateway.close()

    async def buy(self) -> None:
        """Carry one checkout from its POST to COMPLETED; any other end is an error."""
        state = await self.try_to_buy()
        assert state == "COMPLETED", state

    async def try_to_buy(self) -> str:
        """Carry one checkout from its POST to its end, and return which one that is."""
        answer = await self._post("pm_card_visa", {"prefer": f"wait={WAIT_S}"})
        state = str(answer.get("state"))
        if state not in {"COMPLETED", "FAILED"}:  # an API that does not let a POST wait
            state = await self.end(str(answer["saga_id"]))
        self.ends[state] += 1
        return state

    async def begin(self, card: str = "pm_card_visa") -> str:
        """Start the checkout of a full cart and return its saga."""
        return str((await self._post(card))["saga_id"])

    async def end(self, saga_id: str) -> str:
        """Wait for a checkout's end and return it."""
        path, headers = f"/v1/checkouts/{saga_id}", {"prefer": f"wait={WAIT_S}"}
        while True:
            response = await self._gateway.ask(
                "GET", path, self._token, _until(), headers=headers, held_s=WAIT_S
            )
            state = str(response.json()["state"])
            if state in {"COMPLETED", "FAILED"}:
                return state

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
