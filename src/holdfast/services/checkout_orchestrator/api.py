"""The orchestrator's HTTP API: reads sagas and their histories, cancels and resumes them.

The gateway calls `/internal` with its service token, for users that it has checked; operators call `/v1` on
another port.
"""

import asyncio
from collections.abc import Sequence

import msgspec
import structlog
from starlette.requests import Request
from starlette.responses import Response

from holdfast.contracts import internal_calls
from holdfast.contracts.http_api import (
    ActReason,
    Cancellation,
    CancelSaga,
    SagaEvent,
    SagaOfUser,
    SagaView,
    SagaViews,
    SagaViewsRequest,
)
from holdfast.messaging.components import Components
from holdfast.messaging.store import Store
from holdfast.runtime import problems
from holdfast.runtime.auth import OPERATOR_ACTS, OPERATOR_READS, Authenticator, ServiceAuthenticator
from holdfast.runtime.bodies import decode, decode_own, read_body
from holdfast.runtime.openapi import Apps, serve
from holdfast.runtime.parameters import is_uuid, query
from holdfast.runtime.problems import Problem, ProblemType
from holdfast.runtime.threads import Threads
from holdfast.runtime.writer_requests import on_writer
from holdfast.saga.state import SagaInstance
from holdfast.sagas.checkout import CHECKOUT
from holdfast.services.checkout_orchestrator.checkout_service import CheckoutService
from holdfast.services.checkout_orchestrator.liabilities import owner
from holdfast.services.checkout_orchestrator.operator_actions import (
    ActionOutcome,
    ActionResult,
    HandledAction,
    OperatorActions,
)
from holdfast.services.checkout_orchestrator.saga_queries import PARAMETERS, SagaQueries, parse_page_query
from holdfast.services.checkout_orchestrator.store_port import HistoryRow, SagaTransaction

log = structlog.get_logger(__name__)

OPERATOR_THREADS = 2

PAST_THE_PIVOT = ProblemType("past_the_pivot", 409, "The checkout can only go forward now")
SAGA_ENDED = ProblemType("saga_ended", 409, "The saga has ended")
_REFUSED = {ActionOutcome.PAST_THE_PIVOT: PAST_THE_PIVOT, ActionOutcome.ENDED: SAGA_ENDED}
SAGAS_BYTES_MAX = 512 * 1024
_UNDONE = frozenset({CHECKOUT.compensating, CHECKOUT.failed_state})

_sagas_decoder = msgspec.json.Decoder(SagaViewsRequest)
_cancel_decoder = msgspec.json.Decoder(CancelSaga)
_reason_decoder = msgspec.json.Decoder(ActReason)


def apps(
    store: Store[SagaTransaction],
    authenticator: Authenticator,
    services: ServiceAuthenticator,
    components: Components[SagaTransaction],
    service: CheckoutService,
) -> Apps:
    """Make the HTTP applications."""
    applications = Apps(problems.application(), problems.application())
    endpoints = _OrchestratorApi(store, authenticator, services, components, service)
    serve(
        applications.public,
        (
            ("POST", internal_calls.SAGAS, endpoints.sagas),
            ("POST", internal_calls.CANCEL, endpoints.cancel_for_shopper),
        ),
    )
    serve(
        applications.ops,
        (
            ("GET", "/v1/sagas", endpoints.list),
            ("GET", "/v1/sagas/{saga_id}", endpoints.show),
            ("POST", "/v1/sagas/{saga_id}/cancel", endpoints.cancel),
            ("POST", "/v1/sagas/{saga_id}/resume", endpoints.resume),
        ),
    )
    return applications


class _OrchestratorApi:
    """The endpoints."""

    def __init__(
        self,
        store: Store[SagaTransaction],
        authenticator: Authenticator,
        services: ServiceAuthenticator,
        components: Components[SagaTransaction],
        service: CheckoutService,
    ) -> None:
        self._store = store
        self._authenticator = authenticator
        self._services = services
        self._manager = components.manager
        self._actions = OperatorActions(service)
        self._queries = SagaQueries(store, service)
        # Operators use at most two of the read connections: slow queries leave the others to the gateway.
        self._operators = Threads("operators", OPERATOR_THREADS)

    # -- the gateway

    async def sagas(self, request: Request) -> Response:
        self._services.require(request.headers.get("authorization"), internal_calls.SAGAS)
        requested = decode_own(_sagas_decoder, await read_body(request.receive, SAGAS_BYTES_MAX)).sagas
        views = await asyncio.to_thread(_read, self._store, requested)
        return _json(SagaViews(tuple(views)))

    async def cancel_for_shopper(self, request: Request) -> Response:
        """Cancel a saga for its owner; before it begins, only the gateway knows who the owner is."""
        self._services.require(request.headers.get("authorization"), internal_calls.CANCEL)
        body = decode_own(_cancel_decoder, await read_body(request.receive))

        def work(tx: SagaTransaction) -> HandledAction:
            return self._actions.cancel_for_shopper(tx, body.saga_id, body.user_id)

        result = await on_writer(self._manager, work)
        if result.saga is None:
            raise _no_such_saga()
        [seen] = await asyncio.to_thread(_read, self._store, [SagaOfUser(body.saga_id, body.user_id)])
        assert seen is not None, "a saga does not vanish"
        return _json(Cancellation(result.saga.state in _UNDONE, seen))

    # -- operators

    async def list(self, request: Request) -> Response:
        self._authenticator.require(request.headers.get("authorization"), OPERATOR_READS)
        page_query = parse_page_query(query(request, *PARAMETERS))
        return _json(await self._operators.run(self._queries.page, page_query))

    async def show(self, request: Request) -> Response:
        self._authenticator.require(request.headers.get("authorization"), OPERATOR_READS)
        details = await self._operators.run(self._queries.details, _uuid(request.path_params["saga_id"]))
        if details is None:
            raise _no_such_saga()
        return _json(details)

    async def cancel(self, request: Request) -> Response:
        operator, saga_id, reason = await self._authorized_action(request)
        result = await on_writer(
            self._manager, lambda tx: self._actions.cancel(tx, saga_id, operator, reason)
        )
        log.info("saga_cancelled", saga_id=saga_id, did=result.did.value, operator=operator)
        return _response(result)

    async def resume(self, request: Request) -> Response:
        operator, saga_id, reason = await self._authorized_action(request)
        result = await on_writer(
            self._manager, lambda tx: self._actions.resume(tx, saga_id, operator, reason)
        )
        log.info("saga_resumed", saga_id=saga_id, did=result.did.value, operator=operator)
        return _response(result)

    async def _authorized_action(self, request: Request) -> tuple[str, str, str]:
        user = self._authenticator.require(request.headers.get("authorization"), OPERATOR_ACTS)
        saga_id = _uuid(request.path_params["saga_id"])
        return user.name, saga_id, decode(_reason_decoder, await read_body(request.receive)).reason


def _response(result: ActionResult) -> Response:
    if result.saga is None:
        raise _no_such_saga()
    state = result.saga.state
    if result.did in _REFUSED:
        raise Problem(_REFUSED[result.did], f"it is {state}", extra={"state": state})
    return _json({"saga_id": result.saga.saga_id, "state": state, "sent": result.sent}, 202)


def _read(store: Store[SagaTransaction], requested: Sequence[SagaOfUser]) -> list[SagaView | None]:
    saga_ids = list(dict.fromkeys(each.saga_id for each in requested))
    with store.transaction() as tx:
        sagas, histories = tx.read_sagas(saga_ids), tx.read_paths(saga_ids)
    views: list[SagaView | None] = []
    for each in requested:
        saga = sagas.get(each.saga_id)
        if saga is None or owner(saga) not in (None, each.user_id):
            views.append(None)
        else:
            views.append(view(saga, histories.get(each.saga_id, ())))
    return views


def view(saga: SagaInstance, history: Sequence[HistoryRow]) -> SagaView:
    """Return a saga as the gateway sees it."""
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
    if not is_uuid(saga_id):
        raise _no_such_saga()
    return saga_id


def _no_such_saga() -> Problem:
    return Problem(problems.NOT_FOUND, "there is no such saga")


def _json(body: object, status: int = 200) -> Response:
    return Response(msgspec.json.encode(body), status, media_type="application/json")
