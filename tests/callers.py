"""Calls to an application in the same process, by users with real tokens."""

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import quote

import httpx2
from starlette.applications import Starlette

from holdfast.contracts.card_numbers import mask_card_numbers
from holdfast.contracts.topics import GATEWAY
from holdfast.local.keys import Keys
from holdfast.runtime.auth import Authenticator, ServiceAuthenticator
from holdfast.runtime.openapi import Apps
from holdfast.runtime.service_tokens import ServiceTokens


@contextmanager
def keys() -> Iterator[Keys]:
    """Fresh keys in a folder of their own."""
    with TemporaryDirectory() as folder:
        made = Keys(Path(folder))
        made.ensure()
        yield made


def authenticator(made: Keys) -> Authenticator:
    return Authenticator(made.public)


def service_authenticator(made: Keys, service: str) -> ServiceAuthenticator:
    return ServiceAuthenticator(made.services_public, service)


def gateway_token(made: Keys, callee: str) -> str:
    """A token with which the gateway calls this service."""
    return ServiceTokens(made.of_service(GATEWAY), GATEWAY).authorization(callee).removeprefix("Bearer ")


class Caller:
    """One user, or one service, that asks an application with their token and whatever else is said."""

    def __init__(self, client: httpx2.AsyncClient, token: str) -> None:
        self._client = client
        self._headers = {"authorization": f"Bearer {token}"}

    async def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        raw: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> httpx2.Response:
        content = raw if raw is not None else (b"" if body is None else json.dumps(body).encode())
        return await self._client.request(
            method, path, content=content, headers={**self._headers, **(headers or {})}
        )


def whole(apps: Apps) -> Starlette:
    """One application with the routes of both ports: a test of what they do need not care which is where."""
    apps.public.router.routes.extend(apps.ops.router.routes)
    return apps.public


@asynccontextmanager
async def calling(app: Starlette) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of this application, whose lifespan lasts as long; a bug becomes a 500, as in a process."""
    transport = httpx2.ASGITransport(app=app, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx2.AsyncClient(transport=transport, base_url="http://door") as client,
    ):
        yield client


def problem(response: httpx2.Response) -> tuple[int, str, list[str]]:
    """A problem's status, code and pointers; checks the members that every problem has."""
    assert response.headers["content-type"] == "application/problem+json", response.text
    body: dict[str, Any] = response.json()
    assert body["status"] == response.status_code
    assert body["type"] == f"urn:holdfast:problem:{body['code']}"
    assert body["title"]
    assert body["detail"]
    assert body["instance"] == quote(mask_card_numbers(response.request.url.path))[:200]
    return response.status_code, body["code"], [error["pointer"] for error in body.get("errors", [])]
