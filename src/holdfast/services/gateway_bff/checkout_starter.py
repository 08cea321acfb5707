"""Accepting: many requests, one transaction, each with an answer of its own.

The uniqueness of key, cart and cart version is the database's; what lost against it is explained afterwards.
"""

from collections.abc import Callable, Sequence

import structlog

from holdfast.contracts.codec import encode
from holdfast.messaging.batch_processor import BatchProcessor
from holdfast.messaging.handler import HandlerResult, OutboxMessage
from holdfast.messaging.ids import uuid7
from holdfast.messaging.relay import Relay
from holdfast.services.gateway_bff.domain import (
    NOT_AFTER_MS,
    Accepted,
    Checkout,
    CheckoutRequest,
    Rejected,
    RejectionReason,
    StartResult,
    checkout_of,
    initiated,
    replayed,
)
from holdfast.services.gateway_bff.store_port import GatewayTransaction

log = structlog.get_logger(__name__)

LOCK_WAIT_MS = 100
"""A key or cart that another gateway holds for longer is told apart from its group, which waits for it."""


class CheckoutStarter:
    """The admission's write side. One thread at a time; `random_80_bits` feeds the saga ids.

    A checkout may begin until `not_after_ms` after it was accepted.
    """

    def __init__(
        self,
        processor: BatchProcessor[GatewayTransaction],
        relay: Relay,
        random_80_bits: Callable[[], int],
        not_after_ms: int = NOT_AFTER_MS,
    ) -> None:
        self._processor = processor
        self._relay = relay
        self._random_80_bits = random_80_bits
        self._not_after_ms = not_after_ms

    def accept(self, group: Sequence[CheckoutRequest]) -> list[StartResult]:
        """Start what can be started and say of the rest why not. Raises StoreUnavailable for all of them.

        Safe to repeat after an ambiguous commit: the key finds what was done.
        """
        answers: list[StartResult] = []

        def work(tx: GatewayTransaction) -> HandlerResult:
            answers[:], handled = self._accept(tx, group)
            return handled

        committed = self._processor.commit(work, at="accept", lock_wait_ms=LOCK_WAIT_MS)
        self._relay.submit(committed)
        for answer in answers:
            if isinstance(answer, Accepted) and not answer.replayed:
                log.info("checkout_accepted", saga_id=answer.checkout.saga_id)
        return answers

    def _accept(
        self, tx: GatewayTransaction, group: Sequence[CheckoutRequest]
    ) -> tuple[list[StartResult], HandlerResult]:
        now_ms = tx.now_ms()
        answers: dict[int, StartResult] = {}
        rows: dict[int, tuple[Checkout, bytes]] = {}
        for place, wanted in enumerate(group):
            total = wanted.snapshot.total_minor
            if wanted.expected_total_minor is not None and wanted.expected_total_minor != total:
                answers[place] = Rejected(RejectionReason.TOTAL_DIFFERS, total_minor=total)
                continue
            saga_id = str(uuid7(now_ms, self._random_80_bits()))
            rows[place] = (
                checkout_of(wanted, saga_id, now_ms),
                encode(initiated(wanted, now_ms, self._not_after_ms)),
            )
        inserted = tx.insert_checkouts(list(rows.values())) if rows else frozenset()
        # Only now is it certain that no earlier checkout of the cart is open, so that what it left is known.
        left = tx.versions_left({row.cart for row, _ in rows.values() if row.saga_id in inserted})
        handled = HandlerResult()
        stale: list[str] = []
        for place, (row, value) in rows.items():
            if row.saga_id not in inserted:
                continue
            if row.cart_version < left.get(row.cart, 0):
                stale.append(row.saga_id)
                answers[place] = Rejected(RejectionReason.SNAPSHOT_IS_OLD)
                continue
            answers[place] = Accepted(row)
            handled.messages_to_seal.append(
                OutboxMessage(f"{row.saga_id}:initiated", "CheckoutInitiated", row.saga_id, value)
            )
        if stale:
            tx.delete_checkouts(stale)
        lost = {place: row for place, (row, _) in rows.items() if place not in answers}
        if lost:
            answers |= self._explain(tx, group, lost)
        return [answers[place] for place in range(len(group))], handled

    def _explain(
        self, tx: GatewayTransaction, group: Sequence[CheckoutRequest], lost: dict[int, Checkout]
    ) -> dict[int, StartResult]:
        """Say which uniqueness each of these lost against."""
        by_key = tx.find_by_key({(row.user_id, row.idempotency_key) for row in lost.values()})
        in_the_way = tx.find_in_the_way({(row.cart, row.cart_version) for row in lost.values()})
        answers: dict[int, StartResult] = {}
        for place, row in lost.items():
            known = by_key.get((row.user_id, row.idempotency_key))
            other = in_the_way.get(row.cart)
            if known is not None:
                answers[place] = replayed(group[place], known)
            elif other is not None and not other.is_terminal:
                answers[place] = Rejected(RejectionReason.CART_IN_CHECKOUT, other)
            elif other is not None:
                answers[place] = Rejected(RejectionReason.CART_BOUGHT, other)
            else:  # what was in the way has just failed: the cart is free again
                answers[place] = Rejected(RejectionReason.SNAPSHOT_IS_OLD)
        return answers
