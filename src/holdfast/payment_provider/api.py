"""The Stripe-shaped endpoints: each checks the form, key and script of a request, then uses the ledger.

Health and metrics are in `ops_api`; what an operation does is in `operations`.
"""

import hmac
import time
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Awaitable, Callable
from functools import partial

from fastapi import FastAPI, Request
from starlette.responses import Response

from holdfast.payment_provider import forms, objects, operations
from holdfast.payment_provider.errors import ApiError, ProviderResponse, answer, missing
from holdfast.payment_provider.execution import DroppedResponse, Plan, RequestExecutor, Work
from holdfast.payment_provider.fault_rules import FaultRules
from holdfast.payment_provider.faults import Operation
from holdfast.payment_provider.forms import Form
from holdfast.payment_provider.idempotency import Key, make_key
from holdfast.payment_provider.ledger import Reader
from holdfast.payment_provider.metrics import Metrics, outcome_of
from holdfast.payment_provider.objects import Json
from holdfast.payment_provider.operations import SCRIPT_KEY, Later, RefundParams

BODY_MAX = 65_536

Metadata = dict[str, str]
Endpoint = Callable[[Request], Awaitable[Response]]


class SecretCheck:
    """Accepts clients that send a secret key, as a bearer token or as the user of basic authentication."""

    def __init__(self, keys: tuple[str, ...]) -> None:
        self._keys = [key.encode() for key in keys]

    def check(self, request: Request) -> None:
        """Raise 401 for any other client."""
        scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
        given = credentials.strip().encode()
        if scheme.lower() == "basic":
            try:
                given = b64decode(given, validate=True).partition(b":")[0]
            except Base64Error:
                given = b""
        elif scheme.lower() != "bearer":
            raise ApiError(
                401, "You did not provide an API key.", headers={"WWW-Authenticate": 'Bearer realm="Stripe"'}
            )
        if True not in [hmac.compare_digest(given, key) for key in self._keys]:  # all, in constant time
            raise ApiError(
                401, "Invalid API Key provided.", headers={"WWW-Authenticate": 'Bearer realm="Stripe"'}
            )


class Api:
    """The endpoints under /v1."""

    def __init__(
        self,
        secret_check: SecretCheck,
        reader: Reader,
        fault_rules: FaultRules,
        executor: RequestExecutor,
        metrics: Metrics,
    ) -> None:
        self._secret_check = secret_check
        self._reader = reader
        self._fault_rules = fault_rules
        self._executor = executor
        self._metrics = metrics

    def mount(self, app: FastAPI) -> None:
        """Add the routes; plain ones, because FastAPI's parameter handling would cost more than a charge."""
        for path, endpoint, operation in (
            ("/v1/payment_intents", self.create_intent, "charge"),
            ("/v1/payment_intents/search", self.search_intents, "lookup"),
            ("/v1/payment_intents/{ref}", self.retrieve_intent, "lookup"),
            ("/v1/payment_intents/{ref}/cancel", self.cancel_intent, "cancel"),
            ("/v1/refunds", self.create_refund, "refund"),
            ("/v1/refunds", self.list_refunds, "lookup"),
            ("/v1/refunds/{ref}", self.retrieve_refund, "lookup"),
            ("/v1/charges", self.list_charges, "lookup"),
            ("/v1/charges/{ref}", self.retrieve_charge, "lookup"),
        ):
            method = "GET" if operation == "lookup" else "POST"
            app.add_route(path, self._measured(operation, endpoint), methods=[method])

    def _measured(self, operation: str, endpoint: Endpoint) -> Endpoint:
        async def measured(request: Request) -> Response:
            started = time.perf_counter()
            outcome = "error"
            try:
                response = await endpoint(request)
                outcome = (
                    "silent" if isinstance(response, DroppedResponse) else outcome_of(response.status_code)
                )
            except ApiError as error:
                outcome = outcome_of(error.status)
                raise
            finally:
                self._metrics.request(operation, outcome, time.perf_counter() - started)
            return response

        return measured

    # Endpoints that write

    async def create_intent(self, request: Request) -> Response:
        form = await self._form(request)
        params = forms.charge_params(form)
        key = _key(request, form)

        def plan(later: Later | None) -> Work:
            return partial(operations.charge, params=params, idem_key=key.name if key else None, later=later)

        return await self._write("charge", request, key, plan, params.payment_method, params.metadata)

    async def create_refund(self, request: Request) -> Response:
        form = await self._form(request)
        forms.check_fields(form, forms.REFUND_FIELDS)
        charged = self._charge_to_refund(form)
        params = RefundParams(
            charge=charged["id"],
            amount=forms.amount_of(form) if "amount" in form else None,
            metadata=forms.scripted_metadata(form),
            reason=form.get("reason"),
        )
        key = _key(request, form)

        def plan(later: Later | None) -> Work:
            return partial(operations.refund, params=params, idem_key=key.name if key else None, later=later)

        return await self._write("refund", request, key, plan, *_origin(charged), params.metadata)

    async def cancel_intent(self, request: Request) -> Response:
        form = await self._form(request)
        forms.check_fields(form, forms.CANCEL_FIELDS)
        intent = self._known("payment_intent", request.path_params["ref"])
        work = partial(operations.cancel, ref=intent["id"], reason=form.get("cancellation_reason"))
        return await self._write("cancel", request, _key(request, form), lambda _: work, *_origin(intent))

    # Endpoints that only read

    async def retrieve_intent(self, request: Request) -> Response:
        return await self._retrieve(request, "payment_intent")

    async def retrieve_charge(self, request: Request) -> Response:
        return await self._retrieve(request, "charge")

    async def retrieve_refund(self, request: Request) -> Response:
        return await self._retrieve(request, "refund")

    async def search_intents(self, request: Request) -> Response:
        form = self._query(request, {"query", "limit", "page"})
        saga_id = forms.saga_of(form)

        def find() -> ProviderResponse:
            return answer(objects.search_result(request.url.path, self._reader.intents_of(saga_id)))

        nothing = answer(objects.search_result(request.url.path, []))
        found = self._reader.intents_of(saga_id)
        return await self._answer_read(saga_id, find, nothing, _origin(found[0]) if found else ("", {}))

    async def list_charges(self, request: Request) -> Response:
        return await self._list(request, "charge")

    async def list_refunds(self, request: Request) -> Response:
        return await self._list(request, "refund")

    # Their common parts

    async def _form(self, request: Request) -> Form:
        self._secret_check.check(request)
        return forms.parse_form(await request.body())

    def _query(self, request: Request, known: set[str]) -> Form:
        self._secret_check.check(request)
        form = forms.parse_form(request.scope["query_string"])
        forms.check_fields(form, known)
        return form

    def _known(self, what: str, ref: str, *, status: int = 404, param: str = "id") -> Json:
        found = self._reader.object(ref)
        if found is None or found["object"] != what:
            raise missing(what, ref[:200], param=param, status=status)
        return found

    def _charge_to_refund(self, form: Form) -> Json:
        if ("charge" in form) == ("payment_intent" in form):
            raise ApiError(
                400, "Exactly one of payment_intent and charge must be given.", param="payment_intent"
            )
        ref = form.get("charge")
        if ref is None:
            intent = form["payment_intent"]
            ref = self._known("payment_intent", intent, status=400, param="payment_intent")["latest_charge"]
        return self._known("charge", ref, status=400, param="charge")

    async def _write(
        self,
        operation: Operation,
        request: Request,
        key: Key | None,
        plan: Plan,
        payment_method: str,
        *metadata: Metadata,
    ) -> Response:
        subject = key.name if key else request.url.path
        scripts = " ".join(carried.get(SCRIPT_KEY, "") for carried in metadata)
        faults = self._fault_rules.for_request(operation, subject, payment_method, scripts)
        return await self._executor.write(key, plan, faults)

    async def _retrieve(self, request: Request, what: str) -> Response:
        self._query(request, set())
        ref = request.path_params["ref"]
        found = self._known(what, ref)
        nothing = missing(what, ref)

        def find() -> ProviderResponse:
            return answer(self._known(what, ref))

        paid = self._known("charge", found["charge"]) if what == "refund" else found
        return await self._answer_read(
            ref, find, ProviderResponse(nothing.status, nothing.body), _origin(paid)
        )

    async def _list(self, request: Request, kind: str) -> Response:
        form = self._query(request, {"limit", "starting_after", "payment_intent"})
        limit, after, intent = forms.limit_of(form), form.get("starting_after"), form.get("payment_intent")
        if after is not None:
            self._known(kind, after, status=400, param="starting_after")

        def find() -> ProviderResponse:
            found = self._reader.page(kind, intent=intent, after=after, limit=limit + 1)
            return answer(objects.page(request.url.path, found[:limit], has_more=len(found) > limit))

        nothing = answer(objects.page(request.url.path, [], has_more=False))
        return await self._answer_read(intent or request.url.path, find, nothing, ("", {}))

    async def _answer_read(
        self,
        subject: str,
        find: Callable[[], ProviderResponse],
        nothing: ProviderResponse,
        origin: tuple[str, Metadata],
    ) -> Response:
        payment_method, metadata = origin
        faults = self._fault_rules.for_request(
            "lookup", subject, payment_method, metadata.get(SCRIPT_KEY, "")
        )
        return await self._executor.read(find, nothing, faults)


def _key(request: Request, form: Form) -> Key | None:
    return make_key(request.headers.get("idempotency-key"), request.url.path, form)


def _origin(subject: Json) -> tuple[str, Metadata]:
    """Return the payment method and the metadata with which an intent or charge was made."""
    payment_method = subject["payment_method"] or subject["last_payment_error"]["payment_method"]["id"]
    return payment_method, subject["metadata"]
