"""payment-gateway over HTTP: an operator's view of payments, and the endpoint of the provider's webhooks.

Shoppers cannot reach this service, and operators use a port that the provider cannot reach.
`payment_operator` decides what an operator may do with a payment.
"""

import time
from collections.abc import Callable
from typing import Annotated, Any, Literal

import msgspec
import structlog
from fastapi import Request, Response
from msgspec import Meta, Struct
from starlette.concurrency import run_in_threadpool

from holdfast.contracts.http_api import REASON_PATTERN
from holdfast.runtime import problems
from holdfast.runtime.auth import OPERATOR_ACTS, OPERATOR_READS, Authenticator
from holdfast.runtime.bodies import decode, read_body
from holdfast.runtime.openapi import Apps
from holdfast.runtime.parameters import is_uuid, page_size, query
from holdfast.services.payment_gateway import webhooks
from holdfast.services.payment_gateway.handlers import PaymentRow
from holdfast.services.payment_gateway.payment_operator import PaymentOperator, Verdict
from holdfast.services.payment_gateway.settlement import ProviderSilent, Settlement

BAD_SIGNATURE = problems.ProblemType("bad_signature", 400, "The webhook is not signed by the provider")

log = structlog.get_logger(__name__)

Text = Annotated[str, Meta(max_length=500, pattern=REASON_PATTERN)]
Reference = Annotated[str, Meta(max_length=200, pattern=r"^[!-~]*(?!\n)$")]


class Resolve(Struct, forbid_unknown_fields=True):
    """What became of a payment; `charge_id` is the provider's, needed if its search does not find it."""

    outcome: Literal["charged", "not_charged", "refunded"]
    reason: Text
    charge_id: Reference = ""


_resolve = msgspec.json.Decoder(Resolve)


class PaymentApi:
    """The operators' endpoints; blocking work runs in other threads."""

    def __init__(self, operator: PaymentOperator, authenticator: Authenticator) -> None:
        self._operator = operator
        self._authenticator = authenticator

    async def list_payments(self, request: Request) -> Response:
        self._authenticator.require(request.headers.get("authorization"), OPERATOR_READS)
        parameters = query(request, "saga_id", "after", "limit", "unknown", "owed")
        if saga_id := parameters.get("saga_id"):
            row, now_ms = await run_in_threadpool(self._operator.show, _saga_id(saga_id))
            return _json({"items": [shown(row, now_ms)], "next": None})
        limit = page_size(parameters)
        which = next((w for w in ("unknown", "owed") if parameters.get(w) == "true"), "")
        after = _saga_id(parameters["after"]) if parameters.get("after") else ""
        rows, now_ms = await run_in_threadpool(self._operator.page, after, limit, which)
        following = rows[-1].payment.saga_id if len(rows) == limit else None
        return _json({"items": [shown(row, now_ms) for row in rows], "next": following})

    async def resolve(self, request: Request) -> Response:
        user = self._authenticator.require(request.headers.get("authorization"), OPERATOR_ACTS)
        saga_id = _saga_id(request.path_params["saga_id"])
        said = decode(_resolve, await read_body(request.receive))
        verdict = Verdict(said.outcome, user.name, said.reason, said.charge_id)
        row = await run_in_threadpool(self._operator.resolve, saga_id, verdict)
        return _json(shown(row, 0))


class WebhookApi:
    """The provider's webhooks: a verified one makes us ask the provider now; its content is not believed."""

    def __init__(
        self, secret: str, operator: PaymentOperator, settlement: Settlement, wake: Callable[[], None]
    ) -> None:
        self._secret = secret.encode()
        self._operator = operator
        self._settlement = settlement
        self._wake = wake

    async def receive(self, request: Request) -> Response:
        body = await read_body(request.receive, webhooks.BODY_BYTES_MAX)
        header = request.headers.get("stripe-signature", "")
        if not webhooks.is_signed(self._secret, header, body, time.time()):
            raise problems.Problem(BAD_SIGNATURE)
        hint = webhooks.hint_of(body)
        if hint is not None:
            await run_in_threadpool(self._heed, hint)
        return Response(status_code=204)

    def _heed(self, hint: webhooks.WebhookHint) -> None:
        if self._operator.hint(hint.saga_id):
            self._wake()
        elif hint.kind in ("payment_intent.succeeded", "refund.failed"):
            try:
                self._settlement.look(hint.saga_id, hint.intent)
            except ProviderSilent as error:  # the provider sends a webhook again that was not accepted
                log.warning("webhook_not_checked", saga_id=hint.saga_id, error=str(error))
                raise problems.unavailable("the payment provider") from None


def apps(api: PaymentApi, webhook: WebhookApi | None) -> Apps:
    """Make the HTTP applications; `webhook` is None if there is no webhook secret."""
    made = Apps(problems.application(), problems.application())
    made.ops.add_route("/v1/payments", api.list_payments, methods=["GET"])
    made.ops.add_route("/v1/payments/{saga_id}/resolve", api.resolve, methods=["POST"])
    if webhook is not None:
        made.public.add_route("/webhooks/provider", webhook.receive, methods=["POST"])
    return made


def shown(row: PaymentRow, now_ms: int) -> dict[str, Any]:
    """Return a payment as operators see it."""
    payment = row.payment
    return {
        "saga_id": payment.saga_id,
        "state": row.state,
        "undo_requested": row.undo_requested,
        "unknown": row.is_unknown(now_ms),
        "owed": row.is_owed(),
        "amount_minor": payment.amount_minor,
        "currency": payment.currency,
        "charge_id": payment.charge_id,
        "refund_id": payment.refund_id,
        "decline_code": payment.decline_code,
        "last_error": payment.last_error,
        "attempts": row.attempts,
        "since_ms": row.since_ms,
        "next_call_ms": row.due_ms,
        "key": f"{payment.saga_id}:payment:{row.verb}" if row.verb else "",
    }


def _json(document: dict[str, Any]) -> Response:
    return Response(msgspec.json.encode(document), media_type="application/json")


def _saga_id(text: str) -> str:
    if not is_uuid(text):
        raise problems.Problem(problems.NOT_FOUND, "there is no such payment")
    return text
