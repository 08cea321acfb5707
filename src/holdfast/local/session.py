"""One whole replay: loads the catalogue and its stock, then sends every clean invoice through the API.

It combines `catalogue`, `replay` and `replay_stats`, and prints nothing.
"""

import asyncio
import re
import secrets
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import uvloop

from holdfast.contracts.card_numbers import holds_card_number
from holdfast.contracts.topics import CART, GATEWAY, INVENTORY
from holdfast.local.api_client import ApiClient
from holdfast.local.catalogue import load_prices, load_stock
from holdfast.local.info import PlatformInfo
from holdfast.local.keys import Keys
from holdfast.local.orders import CURRENCY, Orders
from holdfast.local.replay import ReplayPlan, ReplayResult, replay
from holdfast.local.replay_stats import ReplayStats, orders_summary

SAMPLE = Path(__file__).with_name("sample") / "online_retail.csv.gz"
OPERATOR = "replay"
STOCK_AMPLE = 1_000_000_000
"""Pieces of each code: more than any number of replays uses up."""

T = TypeVar("T")

_RUN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True)
class Target:
    """The platform to replay to. Without the two operator addresses the catalogue must be loaded already."""

    keys: Keys
    gateway: str
    cart: str | None = None
    inventory: str | None = None

    @classmethod
    def of(cls, info: PlatformInfo) -> "Target":
        services = info.services
        keys = Keys(info.folder.keys)
        return cls(keys, services[GATEWAY].url, services[CART].ops_url, services[INVENTORY].ops_url)


@dataclass
class RunReport:
    """The result of a replay. `late_ms`: how late, by the rate, the most delayed invoice was begun."""

    run: str
    orders: Orders
    stats: ReplayStats
    retries: int = 0
    late_ms: float = 0.0

    def summary(self) -> dict[str, Any]:
        """Return the figures for programs."""
        return {
            "run": self.run,
            **self.stats.summary(),
            "retries": self.retries,
            "late_ms": self.late_ms,
            **orders_summary(self.orders),
        }


def fresh_run() -> str:
    """Make a new name for a replay."""
    return f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"


def is_run_name(name: str) -> bool:
    """Tell whether this may name a run; the name becomes a part of cart ids and idempotency keys."""
    return _RUN.fullmatch(name) is not None and not holds_card_number(name)


def drive(work: Coroutine[Any, Any, T]) -> T:
    """Run this on an event loop of its own; SIGINT cancels it and raises KeyboardInterrupt."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)


async def replay_orders(
    target: Target,
    orders: Orders,
    plan: ReplayPlan,
    *,
    stock: int,
    limit: int | None,
    ended: Callable[[ReplayResult], None],
) -> RunReport:
    """Replay the first `limit` invoices and call `ended` after each.

    Raises BadAddress; RequestRefused and OutOfPatience only for the catalogue.
    """
    report = RunReport(plan.run, orders, ReplayStats())
    await _load(target, orders, plan, stock)

    def counted(outcome: ReplayResult) -> None:
        report.stats.add(outcome)
        ended(outcome)

    gateway = ApiClient(target.gateway)
    try:
        tokens = lru_cache(maxsize=100_000)(target.keys.token)
        late_s = await replay(orders.invoices[:limit], gateway, tokens, plan, counted)
    finally:
        await gateway.close()
    report.retries, report.late_ms = gateway.retries, round(late_s * 1000, 1)
    return report


async def _load(target: Target, orders: Orders, plan: ReplayPlan, stock: int) -> None:
    token = target.keys.token(OPERATOR, operator=True)
    if target.cart is not None:
        cart = ApiClient(target.cart)
        await load_prices(cart, token, orders.catalogue, CURRENCY, plan.patience_s)
        await cart.close()
    if target.inventory is not None:
        inventory = ApiClient(target.inventory)
        await load_stock(inventory, token, orders.catalogue, stock, plan.patience_s, only_new=plan.resumed)
        await inventory.close()
