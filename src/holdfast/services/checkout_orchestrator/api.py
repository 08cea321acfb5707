"""The orchestrator's query API: what a saga is and how it came there, for the gateway and operators."""

from typing import Any
from uuid import UUID

import msgspec
from fastapi import FastAPI, Response
from starlette.concurrency import run_in_threadpool

from holdfast.messaging.store import Store, StoreUnavailable
from holdfast.saga.state import SagaState
from holdfast.services.checkout_orchestrator.store_port import HistoryRow, SagaTransaction


def app(store: Store[SagaTransaction]) -> FastAPI:
    """Make the HTTP application."""
    api = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)

    def read(saga_id: str) -> tuple[SagaState, list[HistoryRow]] | None:
        with store.transaction() as tx:
            saga = tx.read_saga(saga_id)
            return (saga, tx.read_history(saga_id)) if saga else None

    @api.get("/internal/v1/sagas/{saga_id}")
    async def saga(saga_id: UUID) -> Response:
        try:
            found = await run_in_threadpool(read, str(saga_id))
        except StoreUnavailable:
            return Response(status_code=503, headers={"Retry-After": "1"})
        if found is None:
            return Response(status_code=404)
        return Response(msgspec.json.encode(view(*found)), media_type="application/json")

    return api


def view(saga: SagaState, history: list[HistoryRow]) -> dict[str, Any]:
    """Return a saga as the query API shows it."""
    return {
        "saga_id": saga.saga_id,
        "state": saga.state,
        "version": saga.version,
        "definition_version": saga.definition_version,
        "reason": saga.reason,
        "detail": saga.detail,
        "started_ms": saga.started_ms,
        "ended_ms": saga.ended_ms,
        "stalled_ms": saga.stalled_ms,
        "owed": list(saga.owed),
        "results": {step: msgspec.json.decode(result) for step, result in saga.results},
        "history": [
            {
                "seq": row.seq,
                "event_id": row.event_id,
                "kind": row.kind,
                "path": list(row.path),
                "at_ms": row.at_ms,
            }
            for row in history
        ],
    }
