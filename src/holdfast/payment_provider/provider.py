"""Builds the process: its components, the order in which they start and stop, and how errors look.

Settings, signals and the server are in `main`.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.telemetry import TelemetryConfig
from starlette.exceptions import HTTPException
from starlette.responses import Response

from holdfast.payment_provider.api import BODY_MAX, Api, SecretCheck
from holdfast.payment_provider.errors import ApiError
from holdfast.payment_provider.execution import DrainableTimer, RequestExecutor, refuse
from holdfast.payment_provider.fault_rules import FaultRules
from holdfast.payment_provider.ledger import Ledger, Reader
from holdfast.payment_provider.metrics import Metrics
from holdfast.payment_provider.objects import Json
from holdfast.payment_provider.ops_api import admin_routes, ops_routes
from holdfast.payment_provider.settings import Secrets, Settings
from holdfast.payment_provider.webhooks import Webhooks
from holdfast.payment_provider.writer import Writer

log = structlog.get_logger()


class Provider:
    """All components of one process. Once `dead` it cannot go on, and `on_death` is called."""

    def __init__(self, settings: Settings, secrets: Secrets) -> None:
        self.dead = False
        self.on_death: Callable[[], None] = lambda: None
        self.metrics = Metrics()
        self.timer = DrainableTimer()
        self.fault_rules = FaultRules(on_applied=self.metrics.fault_applied)
        self._secret_check = SecretCheck(secrets.keys)
        ledger = Ledger(
            settings.ledger,
            key_ttl_ms=settings.key_ttl_s * 1000,
            keeps_events=settings.webhook_url is not None,
        )
        self._reader = Reader(settings.ledger)
        self._writer = Writer(ledger, on_commit=self._committed, on_death=self._died)
        self._executor = RequestExecutor(self._writer, self.timer)
        self._webhooks = None
        self._sender: asyncio.Task[None] | None = None
        if settings.webhook_url is not None and secrets.webhook is not None:
            self._webhooks = Webhooks(
                str(settings.webhook_url),
                secrets.webhook,
                reader=self._reader,
                writer=self._writer,
                fault_rules=self.fault_rules,
                retry_ms=settings.webhook_retry_ms,
                on_sent=self.metrics.webhook,
            )

    def app(self) -> FastAPI:
        """Return the application; its lifespan starts and stops the rest."""
        silent: TelemetryConfig = {"tracing": False, "metrics": False, "logs": False}
        app = FastAPI(
            title="Payment provider simulator",
            lifespan=self._lifespan,
            max_body_size=BODY_MAX,
            docs_url=None,
            redoc_url=None,
            telemetry=silent,
        )
        Api(self._secret_check, self._reader, self.fault_rules, self._executor, self.metrics).mount(app)
        app.include_router(admin_routes(self.fault_rules, self._secret_check.check))
        app.include_router(ops_routes(self.metrics, self._checks, self._summary))
        app.add_exception_handler(ApiError, refuse)
        app.add_exception_handler(HTTPException, _unrecognized)
        app.add_exception_handler(RequestValidationError, _invalid)
        app.add_exception_handler(Exception, _failed)
        return app

    @asynccontextmanager
    async def _lifespan(self, app: FastAPI) -> AsyncIterator[None]:
        self._writer.start()
        if self._webhooks is not None:
            self._sender = asyncio.create_task(self._webhooks.run(), name="webhooks")
            self._sender.add_done_callback(_report_death)
        yield
        self.timer.drain()
        await self.timer.finish()
        if self._sender is not None:
            self._sender.cancel()
            with suppress(asyncio.CancelledError):
                await self._sender
        await self._writer.stop()
        self._reader.close()

    def _died(self) -> None:
        self.dead = True
        self.on_death()

    def _committed(self, jobs: int, seconds: float) -> None:
        self.metrics.commit(jobs, seconds)
        if self._webhooks is not None:
            self._webhooks.wake()

    def _checks(self) -> dict[str, bool]:
        return {
            "ledger_writer": self._writer.alive,
            "webhooks": self._webhooks is None or (self._sender is not None and not self._sender.done()),
            "serving": not self.timer.draining,
        }

    def _summary(self) -> Json:
        return {"in_flight": len(self._executor.in_flight), "rules": len(self.fault_rules.report())}


def _report_death(sender: asyncio.Task[None]) -> None:
    if not sender.cancelled():
        log.error("webhooks_died", exc_info=sender.exception())


async def _unrecognized(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 404
    message = f"Unrecognized request URL ({request.method}: {request.url.path[:200]})."
    if status == 413:
        message = "The request is too large."
    return refuse(request, ApiError(status, message))


async def _invalid(request: Request, error: Exception) -> Response:
    fault = error.errors()[0] if isinstance(error, RequestValidationError) else {"loc": (), "msg": str(error)}
    where = ".".join(str(part) for part in fault["loc"])
    return refuse(request, ApiError(400, f"{where}: {fault['msg']}", code="parameter_invalid", param=where))


async def _failed(request: Request, error: Exception) -> Response:
    return refuse(request, ApiError(500, "An unexpected error occurred.", kind="api_error"))
