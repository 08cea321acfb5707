"""Executes one request: with its waits, and with the scripted ways to fail to answer.

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
    """Waits that end at once when the process drains, so that stopping it loses nothing."""

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
        """Runs this to its end, even if the request that started it is cancelled."""
        task = asyncio.create_task(late)
        self._spawned.add(task)
        task.add_done_callback(self._finished)

    def hurry(self) -> None:
        """Ends all waits, and makes later ones end at once."""
        self._draining.set()

    async def finish(self) -> None:
        """Returns when all spawned tasks are done."""
        if self._spawned:
            await asyncio.wait(self._spawned)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._spawned.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("late_request_failed", exc_info=task.exception())


class DroppedResponse(Response):
    """Sends no answer: the connection is cut after a while, without a byte."""

    def __init__(self, patience: DrainableTimer, ms: float) -> None:
        super().__init__()
        self._patience = patience
        self._ms = ms

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        gone = asyncio.ensure_future(_disconnected(receive))
        held = asyncio.ensure_future(self._patience.pause(self._ms))
        await asyncio.wait({gone, held}, return_when=asyncio.FIRST_COMPLETED)
        held.cancel()
        scope["extensions"][CUT]()
        await gone  # if the handler returned earlier, the server would answer 500


async def _disconnected(receive: Receive) -> None:
    message: Message = {"type": ""}
    while message["type"] != "http.disconnect":
        message = await receive()


def respond(answer: ProviderResponse) -> Response:
    """An answer on the wire."""
    response = Response(answer.body, answer.status, media_type="application/json")
    if answer.replayed:
        response.headers["Idempotent-Replayed"] = "true"
    return response


def refuse(request: Request, error: Exception) -> Response:
    """A refusal on the wire; registered for every `ApiError`."""
    if not isinstance(error, ApiError):
        raise error
    return Response(error.body, error.status, error.headers, "application/json")


class RequestExecutor:
    """Executes requests with the faults that their scripts ask for."""

    def __init__(self, writer: Writer, patience: DrainableTimer) -> None:
        self.in_flight = KeyUnderWay()
        self._writer = writer
        self._patience = patience

    async def write(self, key: Key | None, plan: Plan, script: FaultPlan) -> Response:
        """Executes a plan once under its key, which is in flight until the effect is durable."""

        async def execute() -> ProviderResponse:
            with self.in_flight.holding(key):
                await self._pause(script)
                return await self._writer.submit(lambda ledger: once(ledger, key, work))

        work = _scripted(plan, script)
        return await self._play(execute, script)

    async def read(
        self, look: Callable[[], ProviderResponse], nothing: ProviderResponse, script: FaultPlan
    ) -> Response:
        """Answers a look-up, or `nothing` if the script makes it find nothing."""

        async def execute() -> ProviderResponse:
            await self._pause(script)
            return nothing if script.blind else look()

        return await self._play(execute, script)

    async def _play(self, execute: Callable[[], Awaitable[ProviderResponse]], script: FaultPlan) -> Response:
        if script.refuses is not None:
            raise script.refuses
        if script.arrives_ms is not None:
            self._patience.spawn(self._arrive(execute, script.arrives_ms))
        elif script.executes:
            answer = await execute()
            if script.silent_ms is None:
                return respond(answer)
        return DroppedResponse(self._patience, script.silent_ms or 0)

    async def _pause(self, script: FaultPlan) -> None:
        if script.pause_ms:
            await self._patience.pause(script.pause_ms)

    async def _arrive(self, execute: Callable[[], Awaitable[ProviderResponse]], ms: float) -> None:
        await self._patience.pause(ms)
        try:
            await execute()
        except ApiError as error:
            log.info("late_request_refused", error=str(error))


def _scripted(plan: Plan, script: FaultPlan) -> Work:
    if script.instead is None:
        return plan(script.later)
    instead = script.instead

    def work(ledger: Ledger) -> ProviderResponse:
        if script.keeps_effect:
            plan(None)(ledger)
        return instead

    return work
