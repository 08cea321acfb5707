"""The orchestrator's HTTP API: what sagas are and how they came there; cancelling and resuming them.

The gateway asks at `/internal`, to which it offers no way, after it has checked owners; operators at `/v1`.
"""

import asyncio
import re
from collections.abc import Sequence

import msgspec
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from holdfast.contracts.http_api import (
    Because,
    Cancellation,
    CancelSaga,
    SagaEvent,
    SagasTold,
    SagaView,
    TellSagas,
)
from holdfast.messaging.ports import Parts
from holdfast.messaging.store import Store
from holdfast.runtime import problems
from holdfast.runtime.auth import OPERATOR_ACTS, OPERATOR_READS, SHOPPER, Authenticator
from holdfast.runtime.bodies import decode, decode_own, read_body
from holdfast.runtime.operations import serve
from holdfast.runtime.problems import Kind, Problem
from holdfast.runtime.threads import Threads
from holdfast.runtime.writing import on_writer
from holdfast.saga.state import SagaState
from holdfast.sagas.checkout import CHECKOUT
from holdfast.services.checkout_orchestrator.handlers import CheckoutService
from holdfast.services.checkout_orchestrator.looking import Looking, page_wanted
from holdfast.services.checkout_orchestrator.operations import Acted, Did, Operations, Outcome
from holdfast.services.checkout_orchestrator.store_port import HistoryRow, SagaTransaction

OPERATORS = 2

PAST_THE_PIVOT = Kind("past_the_pivot", 409, "The checkout can only go forward now")
SAGA_ENDED = Kind("saga_ended", 409, "The saga has ended")
_REFUSED = {Did.PAST_THE_PIVOT: PAST_THE_PIVOT, Did.ENDED: SAGA_ENDED}
_UNDONE = frozenset({CHECKOUT.compensating, CHECKOUT.failed_state})

_tell = msgspec.json.Decoder(TellSagas)
_cancel = msgspec.json.Decoder(CancelSaga)
_because = msgspec.json.Decoder(Because)
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def app(
    store: Store[SagaTransaction],
    authenticator: Authenticator,
    parts: Parts[SagaTransaction],
    service: CheckoutService,
) -> FastAPI:
    """Make the HTTP application."""
    api = FastAPI(redirect_slashes=False, openapi_url=None, docs_url=None, redoc_url=None)
    problems.install(api)
    desk = _Desk(store, authenticator, parts, service)
    serve(
        api,
        (
            ("POST", "/internal/v1/sagas", desk.tell),
            ("POST", "/internal/v1/sagas/cancel", desk.cancel_for_shopper),
            ("GET", "/v1/sagas", desk.list),
            ("GET", "/v1/sagas/{saga_id}", desk.show),
            ("POST", "/v1/sagas/{saga_id}/cancel", desk.cancel),
            ("POST", "/v1/sagas/{saga_id}/resume", desk.resume),
        ),
    )
    return api


class _Desk:
    """The endpoints."""

    def __init__(
        self,
        store: Store[SagaTransaction],
        authenticator: Authenticator,
        parts: Parts[SagaTransaction],
        service: CheckoutService,
    ) -> None:
        self._store = store
        self._authenticator = authenticator
        self._manager = parts.manager
        self._operations = Operations(service)
        self._looking = Looking(store, service)
        # Two of the readers' connections: the rest is the gateway's, however slow operators' questions are.
        self._operators = Threads("operators", OPERATORS)

    # -- the gateway

    async def tell(self, request: Request) -> Response:
        wanted = decode_own(_tell, await read_body(request.receive)).saga_ids
        told = await asyncio.to_thread(_read, self._store, wanted)
        return _json(SagasTold(tuple(told)))

    async def cancel_for_shopper(self, request: Request) -> Response:
        """Cancel with the shopper's own token, which the gateway hands on: nobody else may act here."""
        user = self._authenticator.require(request.headers.get("authorization"), SHOPPER)
        saga_id = _uuid(decode_own(_cancel, await read_body(request.receive)).saga_id)

        def work(tx: SagaTransaction) -> Acted:
            return self._operations.cancel_for_shopper(tx, saga_id, user.name)

        outcome = await on_writer(self._manager, work)
        if outcome.saga is None:
            raise _no_such_saga()
        [told] = await asyncio.to_thread(_read, self._store, [saga_id])
        assert told is not None, "a saga does not vanish"
        return _json(Cancellation(outcome.saga.state in _UNDONE, told))

    # -- operators

    async def list(self, request: Request) -> Response:
        self._authenticator.require(request.headers.get("authorization"), OPERATOR_READS)
        return _json(await self._operators.run(self._looking.page, page_wanted(request.query_params)))

    async def show(self, request: Request) -> Response:
        self._authenticator.require(request.headers.get("authorization"), OPERATOR_READS)
        found = await self._operators.run(self._looking.whole, _uuid(request.path_params["saga_id"]))
        if found is None:
            raise _no_such_saga()
        return _json(found)

    async def cancel(self, request: Request) -> Response:
        operator, saga_id, reason = await self._wish(request)
        outcome = await on_writer(
            self._manager, lambda tx: self._operations.cancel(tx, saga_id, operator, reason)
        )
        return _acted(outcome)

    async def resume(self, request: Request) -> Response:
        operator, saga_id, reason = await self._wish(request)
        outcome = await on_writer(
            self._manager, lambda tx: self._operations.resume(tx, saga_id, operator, reason)
        )
        return _acted(outcome)

    async def _wish(self, request: Request) -> tuple[str, str, str]:
        user = self._authenticator.require(request.headers.get("authorization"), OPERATOR_ACTS)
        saga_id = _uuid(request.path_params["saga_id"])
        return user.name, saga_id, decode(_because, await read_body(request.receive)).reason


def _acted(outcome: Outcome) -> Response:
    if outcome.saga is None:
        raise _no_such_saga()
    state = outcome.saga.state
    if outcome.did in _REFUSED:
        raise Problem(_REFUSED[outcome.did], f"it is {state}", extra={"state": state})
    return _json({"saga_id": outcome.saga.saga_id, "state": state, "sent": outcome.sent}, 202)


def _read(store: Store[SagaTransaction], saga_ids: Sequence[str]) -> list[SagaView | None]:
    with store.transaction() as tx:
        sagas, histories = tx.read_sagas(saga_ids), tx.read_paths(saga_ids)
    return [
        view(sagas[saga_id], histories.get(saga_id, ())) if saga_id in sagas else None for saga_id in saga_ids
    ]


def view(saga: SagaState, history: Sequence[HistoryRow]) -> SagaView:
    """Return a saga as it is told to others."""
    return SagaView(
        saga_id=saga.saga_id,
        state=saga.state,
        version=saga.version,
        reason=saga.reason,
        stalled_ms=saga.stalled_ms,
        owed=saga.owed,
        results={step: msgspec.json.decode(result) for step, result in saga.results},
        history=tuple(SagaEvent(row.kind, row.path, row.at_ms) for row in history),
    )


def _uuid(saga_id: str) -> str:
    if not _UUID.fullmatch(saga_id):
        raise _no_such_saga()
    return saga_id


def _no_such_saga() -> Problem:
    return Problem(problems.NOT_FOUND, "there is no such saga")


def _json(body: object, status: int = 200) -> Response:
    return Response(msgspec.json.encode(body), status, media_type="application/json")
