"""Starts the checkouts of a group in one transaction; each request gets a result of its own.

The database keeps key, cart and cart version unique; a request that conflicts gets its reason afterwards.
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
"""How long a group waits for a key or cart that another gateway has locked; then RowsUnavailable."""


class CheckoutStarter:
    """The write side of the admission. One thread at a time; `random_80_bits` feeds the saga ids.

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
        """Start what can be started; reject the rest with a reason. Raises StoreUnavailable for all of them.

        Safe to repeat after an ambiguous commit: the key finds the checkout that was started.
        """
        results: list[StartResult] = []

        def work(tx: GatewayTransaction) -> HandlerResult:
            results[:], handled = self._accept(tx, group)
            return handled

        committed = self._processor.commit(work, at="accept", lock_wait_ms=LOCK_WAIT_MS)
        self._relay.submit(committed)
        for result in results:
            if isinstance(result, Accepted) and not result.replayed:
                log.info("checkout_accepted", saga_id=result.checkout.saga_id)
        return results

    def _accept(
        self, tx: GatewayTransaction, group: Sequence[CheckoutRequest]
    ) -> tuple[list[StartResult], HandlerResult]:
        now_ms = tx.now_ms()
        results: dict[int, StartResult] = {}
        rows: dict[int, tuple[Checkout, bytes]] = {}
        for index, request in enumerate(group):
            total = request.snapshot.total_minor
            if request.expected_total_minor is not None and request.expected_total_minor != total:
                results[index] = Rejected(RejectionReason.TOTAL_DIFFERS, total_minor=total)
                continue
            saga_id = str(uuid7(now_ms, self._random_80_bits()))
            rows[index] = (
                checkout_of(request, saga_id, now_ms),
                encode(initiated(request, now_ms, self._not_after_ms)),
            )
        inserted = tx.insert_checkouts(list(rows.values())) if rows else frozenset()
        # After the insert no earlier checkout of the cart is open, so the version that it left is known.
        left = tx.versions_left({row.cart for row, _ in rows.values() if row.saga_id in inserted})
        handled = HandlerResult()
        stale: list[str] = []
        for index, (row, value) in rows.items():
            if row.saga_id not in inserted:
                continue
            if row.cart_version < left.get(row.cart, 0):
                stale.append(row.saga_id)
                results[index] = Rejected(RejectionReason.SNAPSHOT_IS_OLD)
                continue
            results[index] = Accepted(row)
            handled.messages_to_seal.append(
                OutboxMessage(f"{row.saga_id}:initiated", "CheckoutInitiated", row.saga_id, value)
            )
        if stale:
            tx.delete_checkouts(stale)
        conflicting = {index: row for index, (row, _) in rows.items() if index not in results}
        if conflicting:
            results |= self._resolve_conflicts(tx, group, conflicting)
        return [results[index] for index in range(len(group))], handled

    def _resolve_conflicts(
        self, tx: GatewayTransaction, group: Sequence[CheckoutRequest], conflicting: dict[int, Checkout]
    ) -> dict[int, StartResult]:
        """Return for each row that was not inserted the result that says what it conflicts with."""
        by_key = tx.find_by_key({(row.user_id, row.idempotency_key) for row in conflicting.values()})
        in_the_way = tx.find_in_the_way({(row.cart, row.cart_version) for row in conflicting.values()})
        results: dict[int, StartResult] = {}
        for index, row in conflicting.items():
            known = by_key.get((row.user_id, row.idempotency_key))
            other = in_the_way.get(row.cart)
            if known is not None:
                results[index] = replayed(group[index], known)
            elif other is not None and not other.is_terminal:
                results[index] = Rejected(RejectionReason.CART_IN_CHECKOUT, other)
            elif other is not None:
                results[index] = Rejected(RejectionReason.CART_BOUGHT, other)
            else:  # the conflicting checkout has just failed: the cart is free again
                results[index] = Rejected(RejectionReason.SNAPSHOT_IS_OLD)
        return results
