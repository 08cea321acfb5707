"""Checkouts that are started by a message: what the saga can do without the gateway's HTTP.

The gateway's rows and the carts are written before the clock starts; then only CheckoutInitiated is
published, as the gateway, and the clock stops when the gateway's rows say that all have completed. A latency
ends when the transaction that writes the end begins, by the database's clock, which is this machine's.
"""

import hashlib
import os
import time
from bisect import bisect_left
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import psycopg
from benchmarks.holdfast_platform import Measured
from benchmarks.load import Run
from benchmarks.shop import USER, cart_lines

from holdfast.bus.kafka.bus import KafkaBus
from holdfast.bus.kafka.settings import KafkaSettings
from holdfast.bus.message_signature import read_keys
from holdfast.bus.port import Bus, Message
from holdfast.bus.postgres.bus import PostgresBus
from holdfast.contracts.codec import encode
from holdfast.contracts.messages import CheckoutInitiated, Line
from holdfast.contracts.topics import CART, GATEWAY
from holdfast.local.keys import Keys
from holdfast.local.process_table import BUS_DATABASE, database
from holdfast.messaging.envelope import seal_raw
from holdfast.messaging.ids import uuid7
from holdfast.runtime.principals import role_of

BATCH = 500
LOOK_EVERY_S = 0.01
NOT_AFTER_MS = 7 * 86_400_000

_CHECKOUT = """
    copy checkout (saga_id, user_id, idem_key, fingerprint, cart_id, cart_version, total_minor, currency,
                   created_ms, initiated) from stdin
"""
_CART = "copy cart (cart_id, user_id, skus, quantities) from stdin"
_FIRST_OPEN = """
    select saga_id::text from checkout
    where saga_id >= %s::uuid and last_status not in ('COMPLETED', 'FAILED') order by saga_id limit 1
"""
_ENDS = """
    select saga_id::text, last_status, extract(epoch from changed_at)::float8 from checkout
    where saga_id between %s::uuid and %s::uuid
"""


class Started(NamedTuple):
    """A checkout whose rows are written; its message starts it."""

    saga_id: str
    message: Message


class MessageStarter:
    """Writes checkouts and starts them on one running platform."""

    def __init__(self, measured: Measured, lines: int = 3) -> None:
        self._measured = measured
        self._lines = lines
        self._written = 0
        server = measured.platform.postgres
        self._gateway = psycopg.connect(server.dsn(database(GATEWAY)), autocommit=True)
        self._cart = psycopg.connect(server.dsn(database(CART)), autocommit=True)
        self._bus = _bus(measured)
        self._publisher = self._bus.publisher()

    def write(self, count: int) -> list[Started]:
        """Write the carts and the gateway's rows of so many checkouts, in the order of their ids."""
        now_ms = time.time_ns() // 1_000_000
        ids = sorted(str(uuid7(now_ms, int.from_bytes(os.urandom(10)))) for _ in range(count))
        numbers = range(self._written, self._written + count)
        self._written += count
        started = []
        with (
            self._gateway.cursor() as gateway,
            self._cart.cursor() as cart,
            gateway.copy(_CHECKOUT) as checkouts,
            cart.copy(_CART) as carts,
        ):
            for saga_id, number in zip(ids, numbers, strict=True):
                name, payload = f"message-{number}", self._initiated(number, now_ms)
                value = encode(payload)
                skus, quantities = (
                    [line.sku for line in payload.lines],
                    [line.quantity for line in payload.lines],
                )
                carts.write_row((name, USER, skus, quantities))
                fingerprint = hashlib.sha256(name.encode()).digest()
                of_cart = (saga_id, USER, name, fingerprint, name, payload.cart_version)
                checkouts.write_row((*of_cart, payload.total_minor, payload.currency, now_ms, value))
                message = seal_raw(f"{saga_id}:initiated", "CheckoutInitiated", saga_id, value, GATEWAY)
                started.append(Started(saga_id, message))
        return started

    def run(self, started: Sequence[Started], in_flight: int) -> Run:
        """Keep about `in_flight` of these under way until all have completed."""
        sent_at: dict[str, float] = {}
        ids = [each.saga_id for each in started]
        ended, began = 0, time.perf_counter()
        while ended < len(started):
            batch = started[len(sent_at) : min(len(sent_at) + BATCH, ended + in_flight)]
            if batch:
                sent_at |= dict.fromkeys((each.saga_id for each in batch), time.time())
                self._publisher.publish([each.message for each in batch])
            else:
                time.sleep(LOOK_EVERY_S)
            ended = self._ended(ids, ended)
        return self._read_run(ids, sent_at, time.perf_counter() - began)

    def close(self) -> None:
        self._publisher.close()
        self._bus.close()
        self._gateway.close()
        self._cart.close()

    def _ended(self, ids: list[str], before: int) -> int:
        """Return how many have ended before the first, by id, that has not."""
        row = self._gateway.execute(_FIRST_OPEN, [ids[before]]).fetchone()
        return len(ids) if row is None else bisect_left(ids, row[0])

    def _read_run(self, ids: list[str], sent_at: dict[str, float], seconds: float) -> Run:
        rows = self._gateway.execute(_ENDS, [ids[0], ids[-1]]).fetchall()
        failed = [saga_id for saga_id, status, _ in rows if status != "COMPLETED"]
        assert len(rows) == len(ids), "other checkouts are among these"
        assert not failed, f"{len(failed)} checkouts failed: {failed[:5]}"
        latencies_ms = [1000 * (ended - sent_at[saga_id]) for saga_id, _, ended in rows]
        return Run(latencies_ms=latencies_ms).ended(seconds)

    def _initiated(self, number: int, now_ms: int) -> CheckoutInitiated:
        lines = tuple(Line(sku, quantity, price) for sku, quantity, price in cart_lines(number, self._lines))
        return CheckoutInitiated(
            user_id=USER,
            cart_id=f"message-{number}",
            cart_version=1,
            payment_method="pm_card_visa",
            currency="GBP",
            total_minor=sum(line.quantity * line.unit_price_minor for line in lines),
            lines=lines,
            not_after_ms=now_ms + NOT_AFTER_MS,
        )


def _bus(measured: Measured) -> Bus:
    """Return the platform's bus as the gateway holds it."""
    platform = measured.platform
    if measured.bootstrap:
        keys = read_keys(Keys(platform.folder.keys).messages(GATEWAY))
        return KafkaBus(KafkaSettings(measured.bootstrap), keys)
    dsn = platform.postgres.dsn(BUS_DATABASE, role_of(GATEWAY))
    return PostgresBus(dsn, Path(platform.info.wakeup_folder))
