"""Executes one request with its scripted faults: it waits, fails, or gives no answer.

`fault_rules` chooses the faults of a request; `faults` defines them.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any

import structlog
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from holdfast.http_server.guarded_protocol import GuardedProtocol
from holdfast.payment_provider.errors import ApiError, ProviderResponse
from holdfast.payment_provider.faults import FaultPlan
from holdfast.payment_provider.idempotency import Key, KeyUnderWay, once
from holdfast.payment_provider.ledger import Ledger
from holdfast.payment_provider.operations import Later
from holdfast.payment_provider.writer import Writer

log = structlog.get_logger()

CUT = "holdfast.cut"

Work = Callable[[Ledger], ProviderResponse]
Plan = Callable[[Later | None], Work]


class CuttableProtocol(GuardedProtocol):
    """HTTP/1.1 whose handlers can cut the connection: `scope["extensions"][CUT]()`."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {CUT: self.transport.abort}  # type: ignore[dict-item]  # ours, not the standard's


class DrainableTimer:
    """Waits that end at once when the process stops, so that no request is lost at a stop."""

    def __init__(self) -> None:
        self._draining = asyncio.Event()
        self._spawned: set[asyncio.Task[None]] = set()

    @property
    def draining(self) -> bool:
        return self._draining.is_set()

    async def pause(self, ms: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._draining.wait(), ms / 1000)

    def spawn(self, late: Coroutine[Any, Any, None]) -> None:
        """Run this to its end, even if the request that started it is cancelled."""
        task = asyncio.create_task(late)
        self._spawned.add(task)
        task.add_done_callback(self._finished)

    def drain(self) -> None:
        """End all waits now; later ones end at once."""
        self._draining.set()

    async def finish(self) -> None:
        """Return when all spawned tasks are done."""
        if self._spawned:
            await asyncio.wait(self._spawned)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._spawned.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("late_request_failed", exc_info=task.exception())


class DroppedResponse(Response):
    """Sends no answer: the connection is cut after `ms`, or when the client leaves."""

    def __init__(self, timer: DrainableTimer, ms: float) -> None:
        super().__init__()
        self._timer = timer
        self._ms = ms

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        gone = asyncio.ensure_future(_disconnected(receive))
        held = asyncio.ensure_future(self._timer.pause(self._ms))
        await asyncio.wait({gone, held}, return_when=asyncio.FIRST_COMPLETED)
        held.cancel()
        scope["extensions"][CUT]()
        await gone  # if the handler returned earlier, the server would answer 500


async def _disconnected(receive: Receive) -> None:
    message: Message = {"type": ""}
    while message["type"] != "http.disconnect":
        message = await receive()


def respond(answer: ProviderResponse) -> Response:
    """Make the HTTP response of an answer."""
    response = Response(answer.body, answer.status, media_type="application/json")
    if answer.replayed:
        response.headers["Idempotent-Replayed"] = "true"
    return response


def refuse(request: Request, error: Exception) -> Response:
    """Make the HTTP response of a refusal; registered for every `ApiError`."""
    if not isinstance(error, ApiError):
        raise error
    return Response(error.body, error.status, error.headers, "application/json")


class RequestExecutor:
    """Executes requests with their faults."""

    def __init__(self, writer: Writer, timer: DrainableTimer) -> None:
        self.in_flight = KeyUnderWay()
        self._writer = writer
        self._timer = timer

    async def write(self, key: Key | None, plan: Plan, faults: FaultPlan) -> Response:
        """Execute a plan once under its key, which is in flight until the effect is durable."""

        async def execute() -> ProviderResponse:
            with self.in_flight.holding(key):
                await self._pause(faults)
                return await self._writer.submit(lambda ledger: once(ledger, key, work))

        work = _with_faults(plan, faults)
        return await self._respond(execute, faults)

    async def read(
        self, find: Callable[[], ProviderResponse], nothing: ProviderResponse, faults: FaultPlan
    ) -> Response:
        """Answer a look-up, with `nothing` if a fault makes it find nothing."""

        async def execute() -> ProviderResponse:
            await self._pause(faults)
            return nothing if faults.blind else find()

        return await self._respond(execute, faults)

    async def _respond(
        self, execute: Callable[[], Awaitable[ProviderResponse]], faults: FaultPlan
    ) -> Response:
        if faults.refuses is not None:
            raise faults.refuses
        if faults.arrives_ms is not None:
            self._timer.spawn(self._arrive(execute, faults.arrives_ms))
        elif faults.executes:
            answer = await execute()
            if faults.silent_ms is None:
                return respond(answer)
        return DroppedResponse(self._timer, faults.silent_ms or 0)

    async def _pause(self, faults: FaultPlan) -> None:
        if faults.pause_ms:
            await self._timer.pause(faults.pause_ms)

    async def _arrive(self, execute: Callable[[], Awaitable[ProviderResponse]], ms: float) -> None:
        await self._timer.pause(ms)
        try:
            await execute()
        except ApiError as error:
            log.info("late_request_refused", error=str(error))


def _with_faults(plan: Plan, faults: FaultPlan) -> Work:
    if faults.instead is None:
        return plan(faults.later)
    instead = faults.instead

    def work(ledger: Ledger) -> ProviderResponse:
        if faults.keeps_effect:
            plan(None)(ledger)
        return instead

    return work
