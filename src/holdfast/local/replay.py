"""Replays invoices as checkouts through the public HTTP API: a cart, a checkout, its end.

`orders` reads the orders, `replay_stats` counts the results; this module uses nothing but the API.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from time import monotonic  # the event loop's own clock ticks in milliseconds
from typing import NamedTuple

from holdfast.local.api_client import ApiClient, OutOfPatience, RequestRefused
from holdfast.local.orders import Invoice
from holdfast.messaging.backoff import backoff_ms
from holdfast.runtime.http_client import Response

CARD = "pm_card_visa"
DECLINED_CARDS = ("pm_card_chargeDeclined", "pm_card_chargeDeclinedInsufficientFunds")
HELD_S = 10
HELD_MIN_S = 1.0
TERMINAL = frozenset({"COMPLETED", "FAILED"})
REFUSED = "REFUSED"
UNKNOWN = "UNKNOWN"

TokenFor = Callable[[str], str]
"""User name to a shopper's token."""


class ReplayResult(NamedTuple):
    """How one invoice ended: the saga's final state, REFUSED by the API, or UNKNOWN if time was up first.

    `sent_at` (when the checkout was first sent) and `ended_at` are of the monotonic clock.
    """

    invoice: str
    state: str
    reason: str
    detail: str
    sent_at: float
    ended_at: float


@dataclass(frozen=True)
class ReplayPlan:
    """How to replay. `run` makes carts and idempotency keys: the same name goes on with the same checkouts.

    `resumed`: the run may have been begun before. `declined` is the share of invoices paid with a bad card;
    `rate` begins that many a second, whatever the platform does (never more than `concurrency` at once).
    """

    run: str
    resumed: bool = False
    declined: float = 0.0
    rate: float | None = None
    concurrency: int = 32
    patience_s: float = 300.0


def payment_method(invoice: str, declined: float) -> str:
    """Choose the card by the invoice alone, so that every run declines the same ones."""
    number = int.from_bytes(blake2b(invoice.encode(), digest_size=8).digest())
    return DECLINED_CARDS[number & 1] if (number >> 1) / 2**63 < declined else CARD


async def replay(
    invoices: Sequence[Invoice],
    gateway: ApiClient,
    token_for: TokenFor,
    plan: ReplayPlan,
    ended: Callable[[ReplayResult], None],
) -> float:
    """Send every invoice and call `ended` once for each; returns how late (s) the latest one was begun."""
    slots = asyncio.Semaphore(plan.concurrency)
    begun_at, late_s = monotonic(), 0.0

    async def one(invoice: Invoice) -> None:
        try:
            ended(await _Shopper(invoice, gateway, token_for, plan).shop())
        finally:
            slots.release()

    async with asyncio.TaskGroup() as group:
        for index, invoice in enumerate(invoices):
            due_at = begun_at + index / plan.rate if plan.rate else begun_at
            await asyncio.sleep(max(0.0, due_at - monotonic()))
            await slots.acquire()
            if plan.rate:
                late_s = max(late_s, monotonic() - due_at)
            group.create_task(one(invoice))
    return late_s


class _Shopper:
    """One invoice's customer. Every request may be repeated; the key makes the checkout one."""

    def __init__(self, invoice: Invoice, gateway: ApiClient, token_for: TokenFor, plan: ReplayPlan) -> None:
        self._until = monotonic() + plan.patience_s
        self._invoice = invoice
        self._gateway = gateway
        self._resumed = plan.resumed
        self._token = token_for(f"customer-{invoice.customer}" if invoice.customer else "guest")
        self._name = f"{plan.run}-{invoice.number}"  # of the cart, and of the checkout's key
        self._card = payment_method(invoice.number, plan.declined)
        self._sent_at = monotonic()

    async def shop(self) -> ReplayResult:
        try:
            return self._ended(*await self._end(await self._checkout()))
        except RequestRefused as refused:
            return self._ended(REFUSED, refused.reason, str(refused))
        except OutOfPatience as error:
            return self._ended(UNKNOWN, "out_of_patience", str(error))

    def _ended(self, state: str, reason: str, detail: str) -> ReplayResult:
        return ReplayResult(self._invoice.number, state, reason, detail, self._sent_at, monotonic())

    async def _fill_cart(self) -> None:
        lines = [{"sku": code, "quantity": pieces} for code, pieces in self._invoice.lines]
        response = await self._gateway.ask(
            "PUT", f"/v1/carts/{self._name}", self._token, self._until, body={"lines": lines}
        )
        if response.status >= 300:
            raise RequestRefused("the cart", response)

    async def _checkout(self) -> str:
        """Have the checkout accepted; returns its saga id.

        A resumed run asks before it fills the cart: a checkout of before has perhaps emptied it already.
        """
        if not self._resumed:
            await self._fill_cart()
        self._sent_at = monotonic()
        response = await self._post()
        if self._resumed and 400 <= response.status < 500:
            await self._fill_cart()
            response = await self._post()
        if response.status not in {200, 202}:
            raise RequestRefused("the checkout", response)
        return str(response.json()["saga_id"])

    async def _post(self) -> Response:
        body = {"cart_id": self._name, "payment_method": self._card}
        return await self._gateway.ask(
            "POST",
            "/v1/checkouts",
            self._token,
            self._until,
            body=body,
            headers={"idempotency-key": self._name},
        )

    async def _end(self, saga_id: str) -> tuple[str, str, str]:
        """Wait until the saga is terminal; returns state, reason and the shopper's sentence."""
        early = 0
        while True:
            asked_at = monotonic()
            held_s = max(0, min(HELD_S, int(self._until - asked_at)))
            response = await self._gateway.ask(
                "GET",
                f"/v1/checkouts/{saga_id}",
                self._token,
                self._until,
                headers={"prefer": f"wait={held_s}"},
                held_s=held_s,
            )
            if response.status != 200:
                raise RequestRefused("the checkout's status", response)
            status = response.json()
            if status["state"] in TERMINAL:
                return status["state"], status.get("reason") or "", ""
            if monotonic() > self._until:
                raise OutOfPatience(f"saga {saga_id} is still {status['state']}")
            if monotonic() - asked_at < HELD_MIN_S:  # answered without waiting: do not make that a storm
                early += 1
                await asyncio.sleep(backoff_ms(early, 50, 1000, saga_id) / 1000)
