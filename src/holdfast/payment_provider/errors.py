"""Answers and refusals of all layers, in Stripe's shape.

A `ProviderResponse` is kept for a repeat of the key; an `ApiError` is never kept.
"""

from typing import Any, NamedTuple

import msgspec

from holdfast.payment_provider.objects import Json


class ProviderResponse(NamedTuple):
    """A definitive answer, in the form in which it is kept under its idempotency key."""

    status: int
    body: bytes
    replayed: bool = False


class ApiError(Exception):
    """A refusal before the endpoint began to execute: nothing happened and nothing is kept."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = "invalid_request_error",
        code: str | None = None,
        param: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.body = error_body(message, kind=kind, code=code, param=param)
        self.headers = headers


def error_body(message: str, *, kind: str = "invalid_request_error", **fields: Any) -> bytes:
    """Make Stripe's error object; empty fields are left out, as Stripe does."""
    error = {name: value for name, value in fields.items() if value is not None}
    return msgspec.json.encode({"error": {**error, "message": message, "type": kind}})


def answer(subject: Json) -> ProviderResponse:
    """Make a 200 with an object."""
    return ProviderResponse(200, msgspec.json.encode(subject))


def refusal(message: str, *, code: str | None = None, param: str | None = None) -> ProviderResponse:
    """Make a 400 from an endpoint that did execute: the same key gets it again, unchanged."""
    return ProviderResponse(400, error_body(message, code=code, param=param))


def card_error(intent: Json) -> ProviderResponse:
    """Make a 402 for a declined charge, with the intent inside."""
    failure = intent["last_payment_error"]
    fields = {name: failure[name] for name in ("charge", "code", "decline_code")}
    return ProviderResponse(
        402, error_body(failure["message"], kind="card_error", payment_intent=intent, **fields)
    )


def server_error(status: int = 500) -> ProviderResponse:
    """Make a 5xx from an endpoint that did execute."""
    message = "An unknown error occurred. It may or may not have had an effect."
    return ProviderResponse(status, error_body(message, kind="api_error"))


def missing(what: str, ref: str, *, param: str = "intent", status: int = 404) -> ApiError:
    """Make the error for an object that does not exist."""
    return ApiError(status, f"No such {what}: '{ref}'", code="resource_missing", param=param)
