"""Operators' HTTP API of the stock: read it page by page, set the initial pieces of codes.

Shoppers cannot reach this service; a checkout changes stock only through messages.
"""

from collections import Counter
from typing import Annotated, Any

import msgspec
from fastapi import FastAPI, Request, Response
from msgspec import Meta, Struct

from holdfast.contracts.http_api import Code
from holdfast.messaging.store import OperatorAction, Store
from holdfast.runtime import problems
from holdfast.runtime.auth import OPERATOR_ACTS, OPERATOR_READS, Authenticator
from holdfast.runtime.bodies import decode, read_body
from holdfast.runtime.parameters import page_in_query
from holdfast.runtime.threads import Threads
from holdfast.services.inventory_write.domain import Stock
from holdfast.services.inventory_write.store_port import StockTransaction

ROWS_MAX = 5_000
BODY_BYTES_MAX = 1_000_000

STOCK_IS_GONE = problems.ProblemType("stock_is_gone", 409, "More pieces are gone than that")


class StockRow(Struct, forbid_unknown_fields=True):
    sku: Code
    on_hand: Annotated[int, Meta(ge=0, le=10**12)]


class SetStock(Struct, forbid_unknown_fields=True):
    """Rows to set; `on_hand` is the total of the code, reserved and sold pieces included."""

    stock: Annotated[list[StockRow], Meta(min_length=1, max_length=ROWS_MAX)]


_set_stock = msgspec.json.Decoder(SetStock)


def app(store: Store[StockTransaction], authenticator: Authenticator) -> FastAPI:
    """Make the HTTP application for operators; the service has no other."""
    api = problems.application()
    threads = Threads("operators", 1)  # the other connections belong to the writer and the pruner

    @api.put("/v1/stock", status_code=204)
    async def put_stock(request: Request) -> Response:
        user = authenticator.require(request.headers.get("authorization"), OPERATOR_ACTS)
        rows = decode(_set_stock, await read_body(request.receive, BODY_BYTES_MAX)).stock
        _refuse_repeats(rows)
        refused = await threads.run(_set, store, user.name, rows)
        if refused:
            gone = [problems.FieldError(f"/stock/{n}/on_hand", f"{pieces} are gone") for n, pieces in refused]
            raise problems.Problem(STOCK_IS_GONE, "reserved and sold pieces cannot be unmade", errors=gone)
        return Response(status_code=204)

    @api.get("/v1/stock")
    async def get_stock(request: Request) -> Response:
        authenticator.require(request.headers.get("authorization"), OPERATOR_READS)
        after, limit = page_in_query(request)
        rows = await threads.run(_page, store, after, limit)
        page = {"items": [_shown(row) for row in rows], "next": rows[-1].sku if len(rows) == limit else None}
        return Response(msgspec.json.encode(page), media_type="application/json")

    return api


def _set(store: Store[StockTransaction], operator: str, rows: list[StockRow]) -> list[tuple[int, int]]:
    """Set all rows and log the operator, or set none; return (index, pieces gone) of each row too low."""
    with store.transaction() as tx:
        before = tx.lock_stock([row.sku for row in rows])
        gone = [before[row.sku].reserved + before[row.sku].sold if row.sku in before else 0 for row in rows]
        refused = [(n, gone[n]) for n, row in enumerate(rows) if row.on_hand < gone[n]]
        if not refused:
            tx.set_initial_stock([(row.sku, row.on_hand) for row in rows])
            tx.record_actions([OperatorAction(operator, "set_stock", "stock", f"{len(rows)} codes")])
        return refused


def _page(store: Store[StockTransaction], after: str, limit: int) -> list[Stock]:
    with store.transaction() as tx:
        return tx.list_stock(after, limit)


def _refuse_repeats(rows: list[StockRow]) -> None:
    counts = Counter(row.sku for row in rows)
    twice = [
        problems.FieldError(f"/stock/{n}/sku", "twice") for n, row in enumerate(rows) if counts[row.sku] > 1
    ]
    if twice:
        raise problems.Problem(problems.INVALID_REQUEST, "a code may be named once", errors=twice)


def _shown(row: Stock) -> dict[str, Any]:
    return row._asdict()
