"""Sends webhooks at least once, signed as Stripe signs them, with backoff and with scripted faults.

`operations` writes events in the effect's own transaction; this module only sends and deletes them.
"""

import asyncio
import hmac
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from hashlib import sha256
from typing import NamedTuple

import httpx2
import msgspec
import structlog

from holdfast.payment_provider.fault_rules import FaultRules
from holdfast.payment_provider.faults import Contradict, Duplicate, Hold
from holdfast.payment_provider.ledger import Ledger, Reader, StoredEvent, wall_ms
from holdfast.payment_provider.objects import Json
from holdfast.payment_provider.writer import PASSING, LedgerDownError, Writer

log = structlog.get_logger()

BATCH_MAX = 32
POLL_S = 0.5
TIMEOUT_S = 5.0
BACKOFF_MAX_MS = 3_600_000
GIVE_UP_AFTER_MS = 3 * 24 * 3_600_000

_OPPOSITE = {
    "payment_intent.succeeded": ("payment_intent.payment_failed", "requires_payment_method"),
    "payment_intent.payment_failed": ("payment_intent.succeeded", "succeeded"),
    "payment_intent.canceled": ("payment_intent.succeeded", "succeeded"),
    "charge.refunded": ("charge.failed", "failed"),
    "refund.failed": ("refund.updated", "succeeded"),
}


class WebhookAttempt(NamedTuple):
    """The result of sending an event: it is deleted, or due again at `due_ms`."""

    seq: int
    due_ms: int | None


def sign(secret: str, body: bytes, at_s: int) -> str:
    """Return the value of `Stripe-Signature`: HMAC-SHA-256 of time and raw body."""
    signature = hmac.new(secret.encode(), f"{at_s}.".encode() + body, sha256).hexdigest()
    return f"t={at_s},v1={signature}"


def opposite(body: bytes) -> bytes:
    """Make an event that contradicts this one, under an id of its own."""
    event: Json = msgspec.json.decode(body)
    kind, status = _OPPOSITE[event["type"]]
    event.update(id=f"{event['id']}x", type=kind)
    event["data"]["object"]["status"] = status
    return msgspec.json.encode(event)


def backoff_ms(base_ms: int, attempts: int) -> int:
    """Return the wait before the next attempt after this many failed ones."""
    return min(base_ms << min(attempts, 40), BACKOFF_MAX_MS)


class Webhooks:
    """Sends the ledger's events. No request waits for it; a slow listener delays only other events."""

    def __init__(
        self,
        url: str,
        secret: str,
        *,
        reader: Reader,
        writer: Writer,
        fault_rules: FaultRules,
        retry_ms: int,
        on_sent: Callable[[str], None] = lambda outcome: None,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        self._url = url
        self._secret = secret
        self._reader = reader
        self._writer = writer
        self._fault_rules = fault_rules
        self._retry_ms = retry_ms
        self._on_sent = on_sent
        self._client = httpx2.AsyncClient(timeout=TIMEOUT_S, transport=transport)
        self._wake = asyncio.Event()

    def wake(self) -> None:
        """Wake the sender, because there may be an event; otherwise its polling finds it later."""
        self._wake.set()

    async def run(self) -> None:
        """Send events until cancelled."""
        async with self._client:
            while True:
                self._wake.clear()
                if not await self._try_send_due():
                    with suppress(TimeoutError):
                        await asyncio.wait_for(self._wake.wait(), POLL_S)

    async def _try_send_due(self) -> bool:
        """Like `_send_due`, but False if the ledger cannot be read now: it is read again later."""
        try:
            return await self._send_due()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorname not in PASSING:
                raise
            log.warning("webhooks_not_read", error=str(error))
            return False

    async def _send_due(self) -> bool:
        """Send what is due; return whether there was something, and the ledger knows the result."""
        events = self._reader.events_due(wall_ms(), BATCH_MAX)
        if not events:
            return False
        sent = await asyncio.gather(*(self._send(event) for event in events))
        try:
            await self._writer.submit(partial(_record, sent=sent))
        except LedgerDownError as error:  # they will be sent again, because the promise is at least once
            log.warning("webhooks_not_settled", error=str(error))
            return False
        return True

    async def _send(self, event: StoredEvent) -> WebhookAttempt:
        fault = None
        if event.attempts == 0:  # what was held or failed once is then sent as it is
            fault = self._fault_rules.for_webhook(event.subject, event.payment_method, event.script)
        match fault:
            case Hold(ms=ms):
                return WebhookAttempt(event.seq, wall_ms() + ms)
            case Duplicate(copies=copies):
                bodies = [event.body] * copies
            case Contradict():
                bodies = [opposite(event.body), event.body]
            case _:
                bodies = [event.body]
        for body in bodies:
            if not await self._post(body):
                return self._failed(event)
        return WebhookAttempt(event.seq, None)

    async def _post(self, body: bytes) -> bool:
        headers = {
            "Content-Type": "application/json",
            "Stripe-Signature": sign(self._secret, body, wall_ms() // 1000),
        }
        try:
            response = await self._client.post(self._url, content=body, headers=headers)
        except httpx2.HTTPError as error:
            log.info("webhook_failed", error=repr(error))
            self._on_sent("failed")
            return False
        self._on_sent("delivered" if response.is_success else "refused")
        return response.is_success

    def _failed(self, event: StoredEvent) -> WebhookAttempt:
        now_ms = wall_ms()
        if now_ms - event.created_ms > GIVE_UP_AFTER_MS:
            log.warning("webhook_given_up", event_seq=event.seq)
            return WebhookAttempt(event.seq, None)
        return WebhookAttempt(event.seq, now_ms + backoff_ms(self._retry_ms, event.attempts))


def _record(ledger: Ledger, sent: list[WebhookAttempt]) -> None:
    for seq, due_ms in sent:
        if due_ms is None:
            ledger.forget_event(seq)
        else:
            ledger.postpone_event(seq, due_ms)
