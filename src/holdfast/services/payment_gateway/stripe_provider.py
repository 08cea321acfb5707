"""The payment provider over HTTP, in Stripe's shape: forms out, payment intents and refunds back.

Every answer is read as definitive or not; an answer that is not definitive is Unknown.
"""

import asyncio
import re
import threading
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

import structlog
import uvloop

from holdfast.contracts.card_numbers import holds_card_number, mask_card_numbers
from holdfast.messaging.keyed_breaker import KeyedBreaker, KeyedSettings
from holdfast.messaging.producer import BreakerOpen
from holdfast.runtime.http_client import ConnectionFailed, HttpClient, Response
from holdfast.services.payment_gateway.call_lanes import connections
from holdfast.services.payment_gateway.domain import (
    STORED,
    Declined,
    NotSent,
    Payment,
    ProviderCall,
    ProviderRequest,
    ProviderResult,
    Succeeded,
    Unknown,
)
from holdfast.services.payment_gateway.settlement import ListedCharge, ProviderSilent

T = TypeVar("T")

log = structlog.get_logger(__name__)

CONNECTIONS_MAX = connections() + 16  # the charge loop's calls, and some for operators' look-ups
_REFERENCE = re.compile(r"[!-~]{1,200}")
_MALFORMED = Unknown("malformed_answer")


class _ServerFailed(Exception):
    """The provider failed at this call, and its answer is not a repeat of a stored failure."""

    def __init__(self, response: Response) -> None:
        super().__init__(f"http {response.status}")
        self.response = response


def provider_breaker(
    monotonic: Callable[[], float] = time.monotonic, name: str = "payment-provider"
) -> KeyedBreaker:
    """Make a breaker that opens only on time-outs, lost connections and 5xx answers of many keys."""
    return KeyedBreaker(name, (ConnectionFailed, _ServerFailed), KeyedSettings(), monotonic)


class StripeProvider:
    """A `PaymentProvider` that makes calls at the same time, on an event loop in its own thread.

    Charges, refunds and look-ups have a breaker each, so that shoppers can pay while the search is down.
    """

    def __init__(self, url: str, secret_key: str, timeout_s: float) -> None:
        self.breaker = provider_breaker()
        self.refund_breaker = provider_breaker(name="payment-provider-refunds")
        self.look_up_breaker = provider_breaker(name="payment-provider-look-ups")
        self._client = HttpClient(url, CONNECTIONS_MAX)
        self._headers = {"authorization": f"Bearer {secret_key}"}
        self._timeout_s = timeout_s
        self._loop = uvloop.new_event_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, name="provider", daemon=True)
        self._thread.start()

    def begin(
        self, calls: Sequence[ProviderCall], ended: Callable[[ProviderCall, ProviderResult], None]
    ) -> None:
        """Begin all calls and return; `ended` is called for each answer, in the provider's thread."""
        self._loop.call_soon_threadsafe(self._begin, calls, ended)

    def call(self, calls: Sequence[ProviderCall]) -> list[ProviderResult]:
        return self.run(self._call_all(calls))

    def charges(self, after: str = "", intent: str = "") -> list[ListedCharge]:
        """See `settlement.ChargeLister`."""
        return self.run(self._charges(after, intent))

    def close(self) -> None:
        """Cancel the calls under way and close the connections."""
        self.run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run this in the provider's thread and wait for its result."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def _begin(
        self, calls: Sequence[ProviderCall], ended: Callable[[ProviderCall, ProviderResult], None]
    ) -> None:
        for call in calls:
            task = self._loop.create_task(self._run(call, ended))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _run(self, call: ProviderCall, ended: Callable[[ProviderCall, ProviderResult], None]) -> None:
        try:
            answer = await self._ask(call)
        except Exception:  # a bug: answer it as unknown, or the call stays under way for ever
            log.exception("call_failed", saga_id=call.payment.saga_id, ask=call.ask.value)
            answer = Unknown("call_failed")
        ended(call, answer)

    async def _close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._client.close()

    async def _call_all(self, calls: Sequence[ProviderCall]) -> list[ProviderResult]:
        return list(await asyncio.gather(*(self._ask(call) for call in calls)))

    async def _ask(self, call: ProviderCall) -> ProviderResult:
        try:
            match call.ask:
                case ProviderRequest.CHARGE:
                    return await self._charge(call)
                case ProviderRequest.REFUND:
                    return await self._refund(call)
                case ProviderRequest.FIND_CHARGE:
                    return await self._find_charge(call.payment)
                case ProviderRequest.SHOW_CHARGE:
                    return await self._show_charge(call.payment)
                case ProviderRequest.FIND_REFUND:
                    return await self._find_refund(call.payment)
        except BreakerOpen as error:
            return NotSent(int(error.retry_after_s * 1000))
        except ConnectionFailed:
            return Unknown("connection_lost")

    async def _charge(self, call: ProviderCall) -> ProviderResult:
        payment = call.payment
        form = {
            "amount": str(payment.amount_minor),
            "currency": payment.currency.lower(),
            "payment_method": payment.payment_method,
            "confirm": "true",
            "metadata[saga_id]": payment.saga_id,
        }
        response = await self._post(self.breaker, "/v1/payment_intents", form, call)
        if response.status == 200:
            return intent_answer(_json(response))
        return _refusal(response)

    async def _refund(self, call: ProviderCall) -> ProviderResult:
        form = {
            "payment_intent": call.payment.charge_id,
            "amount": str(call.payment.amount_minor),
            "metadata[saga_id]": call.payment.saga_id,
        }
        response = await self._post(self.refund_breaker, "/v1/refunds", form, call)
        if response.status == 200:
            return refund_answer(_json(response))
        answer = _refusal(response)
        if isinstance(answer, Declined) and answer.code == "charge_already_refunded":
            return await self._find_refund(call.payment)
        return answer

    async def _find_charge(self, payment: Payment) -> ProviderResult:
        query = f"metadata['saga_id']:'{payment.saga_id}'"
        response = await self._get("/v1/payment_intents/search", {"query": query})
        if response.status != 200:
            return _refusal(response) if response.status >= 500 else Unknown(f"http_{response.status}")
        return _best([intent_answer(intent) for intent in _found(response)])

    async def _show_charge(self, payment: Payment) -> ProviderResult:
        """Read the charge that an operator named; its saga, amount and currency must be this payment's."""
        response = await self._get(f"/v1/payment_intents/{quote(payment.charge_id, safe='')}", {})
        if response.status != 200:
            return Unknown("not_found" if response.status == 404 else f"http_{response.status}")
        intent = _json(response)
        metadata = _object(intent.get("metadata"))
        shown = (metadata.get("saga_id"), intent.get("amount"), intent.get("currency"))
        expected = (payment.saga_id, payment.amount_minor, payment.currency.lower())
        return intent_answer(intent) if shown == expected else Unknown("another_payment")

    async def _find_refund(self, payment: Payment) -> ProviderResult:
        response = await self._get("/v1/refunds", {"payment_intent": payment.charge_id, "limit": "100"})
        if response.status != 200:
            return _refusal(response) if response.status >= 500 else Unknown(f"http_{response.status}")
        return refunds_answer(_found(response), payment.amount_minor)

    async def _charges(self, after: str, intent: str) -> list[ListedCharge]:
        query = {"limit": "100", "starting_after": after, "payment_intent": intent}
        query = {name: value for name, value in query.items() if value}
        try:
            response = await self._get("/v1/charges", query)
        except (BreakerOpen, ConnectionFailed) as error:
            raise ProviderSilent(str(error)) from error
        if response.status != 200:
            raise ProviderSilent(f"http {response.status}")
        return [_charge_of(each) for each in _found(response)]

    async def _post(
        self, breaker: KeyedBreaker, path: str, form: Mapping[str, str], call: ProviderCall
    ) -> Response:
        key = call.idempotency_key
        headers = {"idempotency-key": key, "content-type": "application/x-www-form-urlencoded"}
        try:
            with breaker.guard(key, fresh=call.is_first):
                return await self._exchange("POST", path, headers, urlencode(form).encode())
        except _ServerFailed as failed:
            return failed.response

    async def _get(self, path: str, query: Mapping[str, str]) -> Response:
        target = f"{path}?{urlencode(query)}"
        try:
            with self.look_up_breaker.guard(target):
                return await self._exchange("GET", target, {}, b"")
        except _ServerFailed as failed:
            return failed.response

    async def _exchange(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Response:
        """Make one request. Raises _ServerFailed for a 5xx that is not a repeat of a stored failure."""
        headers = {**self._headers, **headers}
        response = await self._client.request(method, path, headers, body, self._timeout_s)
        if response.status >= 500 and not _is_repeated(response):
            raise _ServerFailed(response)
        return response


def intent_answer(intent: Mapping[str, Any]) -> ProviderResult:
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


def refund_answer(refund: Mapping[str, Any]) -> ProviderResult:
    """Read a refund: only its final statuses are definitive, so pending is not."""
    match refund.get("status"):
        case "succeeded":
            return _succeeded(refund)
        case "failed" | "canceled" as status:
            return Declined(f"refund_{status}", str(refund.get("failure_reason", "")))
        case status:
            return Unknown(f"status_{_plain(status)}")


def refunds_answer(refunds: Sequence[Mapping[str, Any]], owed_minor: int) -> ProviderResult:
    """Read all refunds of one charge: it is refunded only if they return all that is owed."""
    answers = [refund_answer(refund) for refund in refunds]
    done = [refund for refund, answer in zip(refunds, answers, strict=True) if isinstance(answer, Succeeded)]
    back_minor = sum(amount for refund in done if isinstance(amount := refund.get("amount"), int))
    if done and back_minor < owed_minor:
        answers = [each for each in answers if not isinstance(each, Succeeded)]
        partial = Declined("refund_partial", f"{back_minor} of {owed_minor} minor units were refunded")
        return next((each for each in answers if isinstance(each, Unknown)), partial)
    return _best(answers)


def _succeeded(document: Mapping[str, Any]) -> ProviderResult:
    reference = document.get("id")
    if isinstance(reference, str) and _REFERENCE.fullmatch(reference) and not holds_card_number(reference):
        return Succeeded(reference)
    return _MALFORMED


def _refusal(response: Response) -> ProviderResult:
    """Read an error: a refusal of the card or of this request is definitive, any other error is not."""
    status = response.status
    error = _object(_json(response).get("error"))
    kind = error.get("type")
    if status == 402 and kind == "card_error":
        return Declined(_code(error, "card_declined"), str(error.get("message", "")))
    if status in (400, 404) and kind == "invalid_request_error":
        return Declined(_code(error, "invalid_request"), str(error.get("message", "")))
    if status >= 500 and _is_repeated(response):
        return Unknown(f"{STORED}http_{status}")
    retry_after = response.headers.get("retry-after", "")
    seconds = int(retry_after) if re.fullmatch("[0-9]{1,5}", retry_after) else 0
    # A locked object concerns one payment only; too many requests concern all calls.
    locked = "_lock_timeout" if status == 429 and error.get("code") == "lock_timeout" else ""
    return Unknown(f"http_{status}{locked}", seconds * 1000)


def _is_repeated(response: Response) -> bool:
    return response.headers.get("idempotent-replayed", "").lower() == "true"


def _charge_of(document: Mapping[str, Any]) -> ListedCharge:
    created, amount = document.get("created"), document.get("amount")
    return ListedCharge(
        str(document.get("id", "")),
        mask_card_numbers(str(document.get("payment_intent") or document.get("id", ""))),
        str(_object(document.get("metadata")).get("saga_id", "")),
        amount if isinstance(amount, int) else 0,
        str(document.get("currency", "")).upper(),
        document.get("status") == "succeeded",
        document.get("refunded") is True,
        created * 1000 if isinstance(created, int) else 0,
    )


def _best(found: Sequence[ProviderResult]) -> ProviderResult:
    """Return the first success, else the first unknown answer, else a refusal; not_found proves nothing."""
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
    """Return the document if it is an object, else an empty one: a provider may answer anything."""
    return document if isinstance(document, dict) else {}


def _code(error: Mapping[str, Any], otherwise: str) -> str:
    return _plain(error.get("decline_code")) or _plain(error.get("code")) or otherwise


def _plain(word: Any) -> str:
    """Return the word without unsafe characters and card numbers, at most 64 characters long."""
    return mask_card_numbers(re.sub(r"[^A-Za-z0-9_.-]", "", word)[:64]) if isinstance(word, str) else ""
