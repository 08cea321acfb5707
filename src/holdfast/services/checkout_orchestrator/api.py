"""The orchestrator's query API: what sagas are and how they came there, for the gateway and operators.

Within the platform only: the gateway checks owners before it asks, and offers no way to this path.
"""

import asyncio
from collections.abc import Sequence

import msgspec
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from holdfast.contracts.http_api import SagaEvent, SagasTold, SagaView, TellSagas
from holdfast.messaging.store import Store
from holdfast.runtime import problems
from holdfast.runtime.bodies import decode_own, read_body
from holdfast.runtime.operations import serve
from holdfast.saga.state import SagaState
from holdfast.services.checkout_orchestrator.store_port import HistoryRow, SagaTransaction

_tell = msgspec.json.Decoder(TellSagas)


def app(store: Store[SagaTransaction]) -> FastAPI:
    """Make the HTTP application."""
    api = FastAPI(redirect_slashes=False, openapi_url=None, docs_url=None, redoc_url=None)
    problems.install(api)

    async def tell(request: Request) -> Response:
        wanted = decode_own(_tell, await read_body(request.receive)).saga_ids
        told = await asyncio.to_thread(_read, store, wanted)
        return Response(msgspec.json.encode(SagasTold(tuple(told))), media_type="application/json")

    serve(api, (("POST", "/internal/v1/sagas", tell),))
    return api


def _read(store: Store[SagaTransaction], saga_ids: Sequence[str]) -> list[SagaView | None]:
    with store.transaction() as tx:
        sagas, histories = tx.read_sagas(saga_ids), tx.read_paths(saga_ids)
    return [view(sagas[saga_id], histories[saga_id]) if saga_id in sagas else None for saga_id in saga_ids]


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
