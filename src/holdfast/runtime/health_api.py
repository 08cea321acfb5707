"""/health, /livez, /readyz and /metrics: the same on every service's operations port.

Liveness depends on this process only; readiness says whether the process can do useful work now.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest


@dataclass(frozen=True)
class Health:
    """The process's own view of its health; a list of reasons is empty if all is well."""

    summary: Callable[[], dict[str, Any]]
    not_alive: Callable[[], list[str]]
    not_ready: Callable[[], list[str]]


def router(health: Health, registry: CollectorRegistry) -> APIRouter:
    """Make the operations endpoints."""
    api = APIRouter(include_in_schema=False)

    def answer(reasons: list[str]) -> JSONResponse:
        return JSONResponse({"ok": not reasons, "reasons": reasons}, 503 if reasons else 200)

    @api.get("/livez")
    async def livez() -> JSONResponse:
        return answer(health.not_alive())

    @api.get("/readyz")
    async def readyz() -> JSONResponse:
        return answer(health.not_alive() + health.not_ready())

    @api.get("/health")
    async def health_() -> JSONResponse:
        reasons = health.not_alive() + health.not_ready()
        return JSONResponse({"ok": not reasons, "reasons": reasons, **health.summary()})

    @api.get("/metrics")
    async def metrics() -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    return api
