"""The orchestrator's HTTP API: what sagas are and how they came there; cancelling and resuming them.

The gateway asks at `/internal`, with its service token, for users that it has checked; operators at `/v1`, on
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
    Acted,
    ActionOutcome,
    ActionResult,
    OperatorActions,
)
from holdfast.services.checkout_orchestrator.saga_queries import PARAMETERS, SagaQueries, page_wanted
from holdfast.services.checkout_orchestrator.store_port import HistoryRow, SagaTransaction

log = structlog.get_logger(__name__)

OPERATORS = 2

PAST_THE_PIVOT = ProblemType("past_the_pivot", 409, "The checkout can only go forward now")
SAGA_ENDED = ProblemType("saga_ended", 409, "The saga has ended")
_REFUSED = {ActionOutcome.PAST_THE_PIVOT: PAST_THE_PIVOT, ActionOutcome.ENDED: SAGA_ENDED}
TELL_BYTES_MAX = 512 * 1024
_UNDONE = frozenset({CHECKOUT.compensating, CHECKOUT.failed_state})

_tell = msgspec.json.Decoder(SagaViewsRequest)
_cancel = msgspec.json.Decoder(CancelSaga)
_because = msgspec.json.Decoder(ActReason)


def apps(
    store: Store[SagaTransaction],
    authenticator: Authenticator,
    services: ServiceAuthenticator,
    parts: Components[SagaTransaction],
    service: CheckoutService,
) -> Apps:
    """Make the HTTP applications."""
    made = Apps(problems.application(), problems.application())
    desk = _OrchestratorApi(store, authenticator, services, parts, service)
    serve(
        made.public,
        (
            ("POST", internal_calls.SAGAS, desk.tell),
            ("POST", internal_calls.CANCEL, desk.cancel_for_shopper),
        ),
    )
    serve(
        made.ops,
        (
            ("GET", "/v1/sagas", desk.list),
            ("GET", "/v1/sagas/{saga_id}", desk.show),
            ("POST", "/v1/sagas/{saga_id}/cancel", desk.cancel),
            ("POST", "/v1/sagas/{saga_id}/resume", desk.resume),
        ),
    )
    return made


class _OrchestratorApi:
    """The endpoints."""

    def __init__(
        self,
        store: Store[SagaTransaction],
        authenticator: Authenticator,
        services: ServiceAuthenticator,
        parts: Components[SagaTransaction],
        service: CheckoutService,
    ) -> None:
        self._store = store
        self._authenticator = authenticator
        self._services = services
        self._manager = parts.manager
        self._operations = OperatorActions(service)
        self._looking = SagaQueries(store, service)
        # Two of the readers' connections: the rest is the gateway's, however slow operators' questions are.
        self._operators = Threads("operators", OPERATORS)

    # -- the gateway

    async def tell(self, request: Request) -> Response:
        self._services.require(request.headers.get("authorization"), internal_calls.SAGAS)
        wanted = decode_own(_tell, await read_body(request.receive, TELL_BYTES_MAX)).sagas
        told = await asyncio.to_thread(_read, self._store, wanted)
        return _json(SagaViews(tuple(told)))

    async def cancel_for_shopper(self, request: Request) -> Response:
        """Cancel a saga for the user who owns it, which the gateway alone can know before the saga begins."""
        self._services.require(request.headers.get("authorization"), internal_calls.CANCEL)
        wanted = decode_own(_cancel, await read_body(request.receive))

        def work(tx: SagaTransaction) -> Acted:
            return self._operations.cancel_for_shopper(tx, wanted.saga_id, wanted.user_id)

        outcome = await on_writer(self._manager, work)
        if outcome.saga is None:
            raise _no_such_saga()
        [told] = await asyncio.to_thread(_read, self._store, [SagaOfUser(wanted.saga_id, wanted.user_id)])
        assert told is not None, "a saga does not vanish"
        return _json(Cancellation(outcome.saga.state in _UNDONE, told))

    # -- operators

    async def list(self, request: Request) -> Response:
        self._authenticator.require(request.headers.get("authorization"), OPERATOR_READS)
        wanted = page_wanted(query(request, *PARAMETERS))
        return _json(await self._operators.run(self._looking.page, wanted))

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
        log.info("saga_cancelled", saga_id=saga_id, did=outcome.did.value, operator=operator)
        return _acted(outcome)

    async def resume(self, request: Request) -> Response:
        operator, saga_id, reason = await self._wish(request)
        outcome = await on_writer(
            self._manager, lambda tx: self._operations.resume(tx, saga_id, operator, reason)
        )
        log.info("saga_resumed", saga_id=saga_id, did=outcome.did.value, operator=operator)
        return _acted(outcome)

    async def _wish(self, request: Request) -> tuple[str, str, str]:
        user = self._authenticator.require(request.headers.get("authorization"), OPERATOR_ACTS)
        saga_id = _uuid(request.path_params["saga_id"])
        return user.name, saga_id, decode(_because, await read_body(request.receive)).reason


def _acted(outcome: ActionResult) -> Response:
    if outcome.saga is None:
        raise _no_such_saga()
    state = outcome.saga.state
    if outcome.did in _REFUSED:
        raise Problem(_REFUSED[outcome.did], f"it is {state}", extra={"state": state})
    return _json({"saga_id": outcome.saga.saga_id, "state": state, "sent": outcome.sent}, 202)


def _read(store: Store[SagaTransaction], wanted: Sequence[SagaOfUser]) -> list[SagaView | None]:
    saga_ids = list(dict.fromkeys(each.saga_id for each in wanted))
    with store.transaction() as tx:
        sagas, histories = tx.read_sagas(saga_ids), tx.read_paths(saga_ids)
    told: list[SagaView | None] = []
    for each in wanted:
        saga = sagas.get(each.saga_id)
        if saga is None or owner(saga) not in (None, each.user_id):
            told.append(None)
        else:
            told.append(view(saga, histories.get(each.saga_id, ())))
    return told


def view(saga: SagaInstance, history: Sequence[HistoryRow]) -> SagaView:
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
    if not is_uuid(saga_id):
        raise _no_such_saga()
    return saga_id


def _no_such_saga() -> Problem:
    return Problem(problems.NOT_FOUND, "there is no such saga")


def _json(body: object, status: int = 200) -> Response:
    return Response(msgspec.json.encode(body), status, media_type="application/json")
