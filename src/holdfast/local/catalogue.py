"""Loads a catalogue and its stock into a platform, through the operator endpoints of the owning services.

The caller supplies the prices.
"""

from collections.abc import Iterator, Mapping
from time import monotonic
from typing import Any
from urllib.parse import quote

from holdfast.local.api_client import ApiClient, RequestRefused
from holdfast.runtime.http_client import Response

BATCH = 1_000
PAGE = 500


async def load_prices(
    cart: ApiClient, token: str, catalogue: Mapping[str, int], currency: str, patience_s: float
) -> None:
    """Set the price of every code. Raises RequestRefused and OutOfPatience."""
    products = [
        {"sku": sku, "price_minor": minor, "currency": currency} for sku, minor in sorted(catalogue.items())
    ]
    until = monotonic() + patience_s
    for batch in _batches(products):
        response = await cart.ask("PUT", "/v1/products", token, until, body={"products": batch})
        _expect_success("the price list", response)


async def load_stock(
    inventory: ApiClient,
    token: str,
    skus: Mapping[str, int],
    pieces: int,
    patience_s: float,
    *,
    only_new: bool,
) -> None:
    """Have `pieces` of every code on hand now; with `only_new`, only of codes without a stock row.

    The endpoint sets the initial pieces of a code, so what is reserved or sold already is added.
    Raises RequestRefused and OutOfPatience.
    """
    until = monotonic() + patience_s
    taken = await _taken_pieces(inventory, token, until)
    stock = [
        {"sku": sku, "on_hand": pieces + taken.get(sku, 0)}
        for sku in sorted(skus)
        if not (only_new and sku in taken)
    ]
    for batch in _batches(stock):
        response = await inventory.ask("PUT", "/v1/stock", token, until, body={"stock": batch})
        _expect_success("the stock", response)


async def _taken_pieces(inventory: ApiClient, token: str, until: float) -> dict[str, int]:
    """Return the pieces reserved or sold of each code that has a stock row."""
    taken: dict[str, int] = {}
    after: str | None = None
    while True:
        query = f"?limit={PAGE}" + (f"&after={quote(after, safe='')}" if after else "")
        response = await inventory.ask("GET", f"/v1/stock{query}", token, until)
        _expect_success("the stock", response)
        page: dict[str, Any] = response.json()
        taken |= {row["sku"]: row["reserved"] + row["sold"] for row in page["items"]}
        after = page["next"]
        if not after:
            return taken


def _batches(rows: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    return (rows[i : i + BATCH] for i in range(0, len(rows), BATCH))


def _expect_success(what: str, response: Response) -> None:
    if response.status >= 300:
        raise RequestRefused(what, response)
