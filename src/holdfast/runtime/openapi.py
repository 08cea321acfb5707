"""HTTP operations: the routes of an application, and operations described as data for its OpenAPI document.

Bodies are msgspec structs; their schemas are derived from their types.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response

from holdfast.runtime.http_metrics import ROUTE
from holdfast.runtime.problems import (
    BODY_TOO_LARGE,
    CARD_NUMBER_REFUSED,
    FORBIDDEN,
    HEADERS_TOO_LARGE,
    INTERNAL_ERROR,
    INVALID_REQUEST,
    MALFORMED_JSON,
    MALFORMED_REQUEST,
    MEDIA_TYPE,
    METHOD_NOT_ALLOWED,
    OVERLOADED,
    REQUEST_TIMEOUT,
    TARGET_TOO_LONG,
    UNAUTHENTICATED,
    ProblemType,
)

Endpoint = Callable[[Request], Awaitable[Response]]

_REFERENCE = "#/components/schemas/{name}"
_OF_EVERY_CALL = (
    MALFORMED_REQUEST,
    UNAUTHENTICATED,
    FORBIDDEN,
    METHOD_NOT_ALLOWED,
    REQUEST_TIMEOUT,
    BODY_TOO_LARGE,
    TARGET_TOO_LONG,
    HEADERS_TOO_LARGE,
    INTERNAL_ERROR,
    OVERLOADED,
)
_OF_A_BODY = (MALFORMED_JSON, INVALID_REQUEST, CARD_NUMBER_REFUSED)


class Apps(NamedTuple):
    """A service's two applications: `public` for shoppers and services; `ops` for operators elsewhere."""

    public: FastAPI
    ops: FastAPI


@dataclass(frozen=True)
class Parameter:
    """A value outside the body: `place` is path, query or header."""

    name: str
    place: str
    text: str
    schema: Mapping[str, Any]
    required: bool = False


@dataclass(frozen=True)
class ResponseDoc:
    """A successful response; `body` is a struct, or None if it has no body. Headers: name to text."""

    text: str
    body: type[Any] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Operation:
    """One method on one path; the caller's token must have `scope`, or is arbitrary if that is empty."""

    method: str
    path: str
    name: str
    text: str
    scope: str
    answers: Mapping[int, ResponseDoc]
    parameters: Sequence[Parameter] = ()
    body: type[Any] | None = None
    problems: Sequence[ProblemType] = ()

    def all_problems(self) -> dict[str, ProblemType]:
        """Return the kinds of problems that it can respond with, by code."""
        of_body = _OF_A_BODY if self.body else ()
        return {kind.code: kind for kind in (*_OF_EVERY_CALL, *of_body, *self.problems)}


def serve(app: Starlette, endpoints_of: Iterable[tuple[str, str, Endpoint]]) -> None:
    """Add one route per path from (method, path, endpoint); other methods get 405 that lists the allowed."""
    by_path: dict[str, dict[str, Endpoint]] = {}
    for method, path, endpoint in endpoints_of:
        by_path.setdefault(path, {})[method] = endpoint
    for path, endpoints in by_path.items():
        app.add_route(path, _dispatch(path, endpoints), methods=sorted(endpoints))


def _dispatch(path: str, endpoints: dict[str, Endpoint]) -> Endpoint:
    async def dispatch(request: Request) -> Response:
        request.scope[ROUTE] = path
        method = request.scope["method"]
        return await endpoints["GET" if method == "HEAD" else method](request)

    return dispatch


def openapi(title: str, version: str, text: str, operations: Sequence[Operation]) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document of these operations."""
    bodies = [o.body for o in operations if o.body]
    bodies += [answer.body for o in operations for answer in o.answers.values() if answer.body]
    types = list(dict.fromkeys(bodies))
    found, components = msgspec.json.schema_components(types, ref_template=_REFERENCE)
    schemas = dict(zip(types, found, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _describe(operation, schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": version, "description": text, "license": {"name": "Apache-2.0"}},
        "paths": paths,
        "components": {
            "schemas": {**dict(sorted(components.items())), "Problem": _PROBLEM},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
        },
    }


def _describe(operation: Operation, schemas: Mapping[type[Any], Any]) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.text,
        "security": [{"token": [operation.scope] if operation.scope else []}],
    }
    if operation.parameters:
        described["parameters"] = [
            {"name": p.name, "in": p.place, "description": p.text, "required": p.required, "schema": p.schema}
            for p in operation.parameters
        ]
    if operation.body:
        described["requestBody"] = {"required": True, "content": _json(schemas[operation.body])}
    answers: dict[int, Any] = {}
    for status, answer in operation.answers.items():
        answers[status] = {"description": answer.text}
        if answer.body:
            answers[status]["content"] = _json(schemas[answer.body])
        if answer.headers:
            answers[status]["headers"] = {
                name: {"description": text, "schema": {"type": "string"}}
                for name, text in answer.headers.items()
            }
    described["responses"] = {str(s): a for s, a in sorted({**answers, **_problems(operation)}.items())}
    return described


def _problems(operation: Operation) -> dict[int, Any]:
    by_status: dict[int, list[ProblemType]] = {}
    for kind in operation.all_problems().values():
        by_status.setdefault(kind.status, []).append(kind)
    return {
        status: {
            "description": "; ".join(f"`{kind.code}`: {kind.title}" for kind in kinds),
            "content": {MEDIA_TYPE: {"schema": {"$ref": _REFERENCE.format(name="Problem")}}},
        }
        for status, kinds in by_status.items()
    }


def _json(schema: Any) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


_PROBLEM = {
    "title": "Problem",
    "description": "An error (RFC 9457). Some kinds carry more members; see docs/reference/problems.md.",
    "type": "object",
    "required": ["type", "title", "status", "code", "detail", "instance"],
    "properties": {
        "type": {"type": "string", "format": "uri"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "code": {"type": "string"},
        "detail": {"type": "string"},
        "instance": {"type": "string", "format": "uri-reference"},
        "trace_id": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["pointer", "detail"],
                "properties": {
                    "pointer": {"type": "string", "description": "A JSON pointer into the body (RFC 6901)."},
                    "detail": {"type": "string"},
                },
            },
        },
    },
}
