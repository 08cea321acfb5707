"""Errors as RFC 9457 problems: `code` says to programs what went wrong, `detail` says it to people.

A problem never contains an exception's text, and nothing that the client sent except the path.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import quote

import msgspec
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from holdfast.bus.port import BusUnavailable
from holdfast.contracts.card_numbers import mask_card_numbers
from holdfast.messaging.store import StoreUnavailable

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 2

_TRACE = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")


@dataclass(frozen=True)
class ProblemType:
    """A kind of problem: its code, HTTP status and title."""

    code: str
    status: int
    title: str

    @property
    def type(self) -> str:
        """The URI of this kind; docs/reference/problems.md explains each."""
        return f"urn:holdfast:problem:{self.code}"


class FieldError(NamedTuple):
    """What is wrong with one field of the body; `pointer` is a JSON pointer (RFC 6901)."""

    pointer: str
    detail: str


MALFORMED_REQUEST = ProblemType("malformed_request", 400, "The request is not valid HTTP")
MALFORMED_JSON = ProblemType("malformed_json", 400, "The body is not JSON")
UNAUTHENTICATED = ProblemType("unauthenticated", 401, "A valid token is needed")
FORBIDDEN = ProblemType("forbidden", 403, "The token does not allow this")
NOT_FOUND = ProblemType("not_found", 404, "There is no such thing")
METHOD_NOT_ALLOWED = ProblemType("method_not_allowed", 405, "This method does not exist here")
REQUEST_TIMEOUT = ProblemType("request_timeout", 408, "The request took too long to arrive")
BODY_TOO_LARGE = ProblemType("body_too_large", 413, "The body is too large")
TARGET_TOO_LONG = ProblemType("target_too_long", 414, "The request's target is too long")
INVALID_REQUEST = ProblemType("invalid_request", 422, "The request says something impossible")
CARD_NUMBER_REFUSED = ProblemType("card_number_refused", 422, "Card numbers are not accepted")
HEADERS_TOO_LARGE = ProblemType("headers_too_large", 431, "The request's headers are too large")
INTERNAL_ERROR = ProblemType("internal_error", 500, "Something went wrong on our side")
OVERLOADED = ProblemType("overloaded", 503, "Too much to do right now")
DEPENDENCY_UNAVAILABLE = ProblemType(
    "dependency_unavailable", 503, "A service that this needs is unavailable"
)

GENERAL = (
    MALFORMED_REQUEST,
    MALFORMED_JSON,
    UNAUTHENTICATED,
    FORBIDDEN,
    NOT_FOUND,
    METHOD_NOT_ALLOWED,
    REQUEST_TIMEOUT,
    BODY_TOO_LARGE,
    TARGET_TOO_LONG,
    INVALID_REQUEST,
    CARD_NUMBER_REFUSED,
    HEADERS_TOO_LARGE,
    INTERNAL_ERROR,
    OVERLOADED,
    DEPENDENCY_UNAVAILABLE,
)

_BY_STATUS = {
    kind.status: kind for kind in (UNAUTHENTICATED, FORBIDDEN, NOT_FOUND, METHOD_NOT_ALLOWED, BODY_TOO_LARGE)
}


class Problem(Exception):
    """An error response. `detail` and `extra` must be our own text, never the client's."""

    def __init__(
        self,
        kind: ProblemType,
        detail: str = "",
        *,
        errors: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(kind.code)
        self.kind = kind
        self.detail = detail
        self.errors = errors
        self.headers = headers or {}
        self.extra = extra or {}


def unavailable(what: str, retry_after_s: int = RETRY_AFTER_S) -> Problem:
    """Make the problem for a dependency that is down; `what` names it."""
    headers = {"Retry-After": str(retry_after_s)}
    return Problem(DEPENDENCY_UNAVAILABLE, f"{what} cannot be reached; try again", headers=headers)


def respond(request: Request, problem: Problem) -> Response:
    """Write a problem as a response."""
    kind = problem.kind
    body: dict[str, Any] = {
        "type": kind.type,
        "title": kind.title,
        "status": kind.status,
        "code": kind.code,
        "detail": problem.detail or kind.title,
        "instance": quote(mask_card_numbers(request.scope["path"]))[:200],
    }
    if trace := _TRACE.fullmatch(request.headers.get("traceparent", "")):
        body["trace_id"] = trace[1]
    if problem.errors:
        body["errors"] = [error._asdict() for error in problem.errors]
    body |= problem.extra
    return Response(msgspec.json.encode(body), kind.status, dict(problem.headers), MEDIA_TYPE)


def application(lifespan: Any = None) -> FastAPI:
    """Make an application whose errors are problems, and which serves no documentation of itself."""
    app = FastAPI(lifespan=lifespan, redirect_slashes=False, openapi_url=None, docs_url=None, redoc_url=None)
    install(app)
    return app


def install(app: FastAPI) -> None:
    """Make every error of `app` a problem."""
    app.add_exception_handler(Problem, _problem)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(StoreUnavailable, _store_unavailable)
    app.add_exception_handler(BusUnavailable, _bus_unavailable)
    app.add_exception_handler(Exception, _bug)


async def _problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return respond(request, error)


async def _http_error(request: Request, error: Exception) -> Response:
    """Turn an error of the framework (no such route, wrong method) into a problem; keep its headers."""
    assert isinstance(error, HTTPException)
    status = error.status_code
    kind = _BY_STATUS.get(status) or ProblemType(f"http_{status}", status, "Refused")
    return respond(request, Problem(kind, headers=error.headers))


async def _validation_error(request: Request, error: Exception) -> Response:
    """Name the wrong parameters; the framework's own text would repeat the client's input."""
    assert isinstance(error, RequestValidationError)
    found = [FieldError("/" + "/".join(map(str, e["loc"][1:])), e["type"]) for e in error.errors()]
    return respond(request, Problem(INVALID_REQUEST, errors=found))


async def _store_unavailable(request: Request, _: Exception) -> Response:
    return respond(request, unavailable("the database"))


async def _bus_unavailable(request: Request, _: Exception) -> Response:
    return respond(request, unavailable("the message bus"))


async def _bug(request: Request, _: Exception) -> Response:
    """Tell the client nothing about the bug; the framework raises it again, so that the server logs it."""
    return respond(request, Problem(INTERNAL_ERROR))
