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
from holdfast.payment_provider.faults import Fault
from holdfast.payment_provider.metrics import Metrics
from holdfast.payment_provider.objects import Json


class Rules(BaseModel):
    """All rules; they are tried in this order."""

    model_config = ConfigDict(extra="forbid")

    rules: Annotated[list[Fault], Field(max_length=100)]


def admin_routes(fault_rules: FaultRules, guard: Callable[..., None]) -> APIRouter:
    """Return the routes that read and set the rules of faults; they need the secret key."""
    router = APIRouter(prefix="/admin/behaviour", dependencies=[Depends(guard)])

    @router.put("")
    async def replace(body: Rules) -> Json:
        fault_rules.replace(body.rules)
        return {"rules": fault_rules.report()}

    @router.get("")
    async def show() -> Json:
        return {"rules": fault_rules.report()}

    @router.delete("")
    async def clear() -> Json:
        last = fault_rules.report()
        fault_rules.replace([])
        return {"rules": last}

    return router


def ops_routes(
    metrics: Metrics, checks: Callable[[], dict[str, bool]], summary: Callable[[], Json]
) -> APIRouter:
    """Return the routes for probes, which need no key; ready means that every check is true."""
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
