"""Health, metrics and the admin endpoint for faults.

The endpoints that move money are in `api`.
"""

from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Depends
from fastapi.responses import JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel, ConfigDict, Field

from holdfast.payment_provider.fault_rules import FaultRules
from holdfast.payment_provider.faults import Trouble
from holdfast.payment_provider.metrics import Metrics
from holdfast.payment_provider.objects import Json


class Rules(BaseModel):
    """All rules at once; they are tried in this order."""

    model_config = ConfigDict(extra="forbid")

    rules: Annotated[list[Trouble], Field(max_length=100)]


def admin_routes(behaviour: FaultRules, guard: Callable[..., None]) -> APIRouter:
    """Sets scripted faults, only with the secret key."""
    router = APIRouter(prefix="/admin/behaviour", dependencies=[Depends(guard)])

    @router.put("")
    async def replace(body: Rules) -> Json:
        behaviour.replace(body.rules)
        return {"rules": behaviour.report()}

    @router.get("")
    async def show() -> Json:
        return {"rules": behaviour.report()}

    @router.delete("")
    async def clear() -> Json:
        last = behaviour.report()
        behaviour.replace([])
        return {"rules": last}

    return router


def ops_routes(
    metrics: Metrics, checks: Callable[[], dict[str, bool]], summary: Callable[[], Json]
) -> APIRouter:
    """Needs no key. Ready means that every check is true; alive checks nothing."""
    router = APIRouter()

    @router.get("/livez")
    async def livez() -> Json:
        return {"status": "ok"}

    @router.get("/readyz")
    async def readyz() -> Response:
        found = checks()
        ready = all(found.values())
        status = "ready" if ready else "not_ready"
        return JSONResponse({"status": status, "checks": found}, 200 if ready else 503)

    @router.get("/health")
    async def health() -> Json:
        found = checks()
        status = "ok" if all(found.values()) else "degraded"
        return {"service": "payment-provider", "status": status, "checks": found, **summary()}

    @router.get("/metrics")
    async def scrape() -> Response:
        metrics.ready.set(all(checks().values()))
        return Response(metrics.render(), media_type=CONTENT_TYPE_LATEST)

    return router
