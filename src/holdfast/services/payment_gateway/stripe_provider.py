"""The payment provider over HTTP, in Stripe's shape: forms out, payment intents and refunds back.

Says of every answer whether it is definitive; anything that is not so is Unknown, whatever it was.
"""

import asyncio
import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

import uvloop

from holdfast.runtime.http_client import ConnectionFailed, HttpClient, Response
from holdfast.services.payment_gateway.domain import (
    Answer,
    Ask,
    Call,
    Declined,
    Payment,
    Succeeded,
    Unknown,
)

CONNECTIONS_MAX = 64
_REFERENCE = re.compile(r"[!-~]{1,200}")
_MALFORMED = Unknown("malformed_answer")


class StripeProvider:
    """A `PaymentProvider`. Makes its calls side by side on an event loop of its own; one thread at a time."""

    def __init__(self, url: str, secret_key: str, timeout_s: float) -> None:
        self._runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
        self._client = HttpClient(url, CONNECTIONS_MAX)
        self._headers = {"authorization": f"Bearer {secret_key}"}
        self._timeout_s = timeout_s

    def call(self, calls: Sequence[Call]) -> list[Answer]:
        return self._runner.run(self._call_all(calls))

    def close(self) -> None:
        self._runner.run(self._client.close())
        self._runner.close()

    async def _call_all(self, calls: Sequence[Call]) -> list[Answer]:
        return list(await asyncio.gather(*(self._ask(call) for call in calls)))

    async def _ask(self, call: Call) -> Answer:
        try:
            match call.ask:
                case Ask.CHARGE:
                    return await self._charge(call)
                case Ask.REFUND:
                    return await self._refund(call)
                case Ask.FIND_CHARGE:
                    return await self._find_charge(call.payment)
                case Ask.FIND_REFUND:
                    return await self._find_refund(call.payment)
        except ConnectionFailed:
            return Unknown("connection_lost")

    async def _charge(self, call: Call) -> Answer:
        payment = call.payment
        form = {
            "amount": str(payment.amount_minor),
            "currency": payment.currency.lower(),
            "payment_method": payment.payment_method,
            "confirm": "true",
            "metadata[saga_id]": payment.saga_id,
        }
        response = await self._post("/v1/payment_intents", form, call.idempotency_key)
        if response.status == 200:
            return intent_answer(_json(response))
        return _refusal(response)

    async def _refund(self, call: Call) -> Answer:
        form = {
            "payment_intent": call.payment.charge_id,
            "amount": str(call.payment.amount_minor),
            "metadata[saga_id]": call.payment.saga_id,
        }
        response = await self._post("/v1/refunds", form, call.idempotency_key)
        if response.status == 200:
            return refund_answer(_json(response))
        answer = _refusal(response)
        if isinstance(answer, Declined) and answer.code == "charge_already_refunded":
            return await self._find_refund(call.payment)
        return answer

    async def _find_charge(self, payment: Payment) -> Answer:
        query = f"metadata['saga_id']:'{payment.saga_id}'"
        response = await self._get("/v1/payment_intents/search", {"query": query})
        if response.status != 200:
            return _refusal(response) if response.status >= 500 else Unknown(f"http_{response.status}")
        return _best([intent_answer(intent) for intent in _found(response)])

    async def _find_refund(self, payment: Payment) -> Answer:
        response = await self._get("/v1/refunds", {"payment_intent": payment.charge_id})
        if response.status != 200:
            return Unknown(f"http_{response.status}")
        answers = [refund_answer(refund) for refund in _found(response)]
        return _best([answer for answer in answers if isinstance(answer, Succeeded)])

    async def _post(self, path: str, form: Mapping[str, str], key: str) -> Response:
        headers = {
            **self._headers,
            "idempotency-key": key,
            "content-type": "application/x-www-form-urlencoded",
        }
        return await self._client.request("POST", path, headers, urlencode(form).encode(), self._timeout_s)

    async def _get(self, path: str, query: Mapping[str, str]) -> Response:
        return await self._client.request(
            "GET", f"{path}?{urlencode(query)}", self._headers, timeout_s=self._timeout_s
        )


def intent_answer(intent: Mapping[str, Any]) -> Answer:
    """Read a payment intent: only its final statuses are definitive."""
    match intent.get("status"):
        case "succeeded":
            return _succeeded(intent)
        case "canceled":
            return Declined("canceled", "the payment was canceled")
        case "requires_payment_method":
            error = _object(intent.get("last_payment_error"))
            return Declined(_code(error, "declined"), str(error.get("message", "")))
        case status:
            return Unknown(f"status_{_plain(status)}")


def refund_answer(refund: Mapping[str, Any]) -> Answer:
    """Read a refund: pending is not an answer yet."""
    match refund.get("status"):
        case "succeeded":
            return _succeeded(refund)
        case "failed" | "canceled" as status:
            return Declined(f"refund_{status}", str(refund.get("failure_reason", "")))
        case status:
            return Unknown(f"status_{_plain(status)}")


def _succeeded(document: Mapping[str, Any]) -> Answer:
    reference = document.get("id")
    if isinstance(reference, str) and _REFERENCE.fullmatch(reference):
        return Succeeded(reference)
    return _MALFORMED


def _refusal(response: Response) -> Answer:
    """Read an error: refusals of the card or of this very request are definitive, all else is not."""
    status = response.status
    error = _object(_json(response).get("error"))
    kind = error.get("type")
    if status == 402 and kind == "card_error":
        return Declined(_code(error, "card_declined"), str(error.get("message", "")))
    if status in (400, 404) and kind == "invalid_request_error":
        return Declined(_code(error, "invalid_request"), str(error.get("message", "")))
    retry_after = response.headers.get("retry-after", "")
    seconds = int(retry_after) if re.fullmatch("[0-9]{1,5}", retry_after) else 0
    return Unknown(f"http_{status}", seconds * 1000)


def _best(found: Sequence[Answer]) -> Answer:
    """Prefer money that moved over a refusal, and any end over none; nothing found proves nothing."""
    for kind in (Succeeded, Unknown, Declined):
        for answer in found:
            if isinstance(answer, kind):
                return answer
    return Unknown("not_found")


def _found(response: Response) -> list[Mapping[str, Any]]:
    data = _json(response).get("data")
    return [_object(each) for each in data] if isinstance(data, list) else []


def _json(response: Response) -> Mapping[str, Any]:
    try:
        return _object(response.json())
    except (ValueError, RecursionError):
        return {}


def _object(document: Any) -> Mapping[str, Any]:
    """Return the document if it is an object; a provider may answer anything."""
    return document if isinstance(document, dict) else {}


def _code(error: Mapping[str, Any], otherwise: str) -> str:
    return _plain(error.get("decline_code")) or _plain(error.get("code")) or otherwise


def _plain(word: Any) -> str:
    """Return a word that can be stored and shown, whatever the provider sent."""
    return re.sub(r"[^A-Za-z0-9_.-]", "", word)[:64] if isinstance(word, str) else ""
