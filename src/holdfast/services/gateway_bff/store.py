"""gateway-bff's table in PostgreSQL; the statements are in `sql/`."""

from collections.abc import Collection, Sequence
from typing import Any

from holdfast.messaging.database import PostgresTransaction, statements
from holdfast.messaging.store import Pruned, PrunePage
from holdfast.services.gateway_bff.domain import CartKey, Checkout, CheckoutEnd
from holdfast.services.gateway_bff.store_port import KnownCheckout, OpenCheckout

SQL = statements("holdfast.services.gateway_bff")


class PostgresGatewayTransaction(PostgresTransaction):
    """See `store_port.GatewayTransaction` for every promise."""

    def insert_checkouts(self, rows: Sequence[tuple[Checkout, bytes]]) -> frozenset[str]:
        inserted = self.read(
            SQL["insert_checkouts"],
            saga_ids=[row.saga_id for row, _ in rows],
            user_ids=[row.user_id for row, _ in rows],
            idempotency_keys=[row.idempotency_key for row, _ in rows],
            fingerprints=[row.fingerprint for row, _ in rows],
            cart_ids=[row.cart_id for row, _ in rows],
            cart_versions=[row.cart_version for row, _ in rows],
            totals=[row.total_minor for row, _ in rows],
            currencies=[row.currency for row, _ in rows],
            created_ms=[row.created_ms for row, _ in rows],
            initiated=[value for _, value in rows],
        )
        return frozenset(row[0] for row in inserted)

    def delete_checkouts(self, saga_ids: Collection[str]) -> None:
        self.write(SQL["delete_checkouts"], saga_ids=list(saga_ids))

    def versions_left(self, carts: Collection[CartKey]) -> dict[CartKey, int]:
        if not carts:
            return {}
        rows = self.read(
            SQL["select_versions_left"],
            cart_ids=[cart_id for cart_id, _ in carts],
            user_ids=[user_id for _, user_id in carts],
        )
        return {(cart_id, user_id): version for cart_id, user_id, version in rows}

    def find_by_key(self, keys: Collection[tuple[str, str]]) -> dict[tuple[str, str], Checkout]:
        rows = self.read(
            SQL["select_by_key"],
            user_ids=[user_id for user_id, _ in keys],
            idempotency_keys=[key for _, key in keys],
        )
        found = [_checkout(row) for row in rows]
        return {(row.user_id, row.idempotency_key): row for row in found}

    def find_in_the_way(self, carts: Collection[tuple[CartKey, int]]) -> dict[CartKey, Checkout]:
        rows = self.read(
            SQL["select_in_the_way"],
            cart_ids=[cart_id for (cart_id, _), _ in carts],
            user_ids=[user_id for (_, user_id), _ in carts],
            cart_versions=[version for _, version in carts],
        )
        return {row.cart: row for row in map(_checkout, rows)}

    def find_owned(self, owned: Collection[tuple[str, str]]) -> dict[tuple[str, str], Checkout]:
        rows = self.read(
            SQL["select_owned"],
            saga_ids=[saga_id for saga_id, _ in owned],
            user_ids=[user_id for _, user_id in owned],
        )
        return {(row.saga_id, row.user_id): row for row in map(_checkout, rows)}

    def find_terminal(self, saga_ids: Collection[str]) -> frozenset[str]:
        rows = self.read(SQL["select_terminal"], saga_ids=list(saga_ids))
        return frozenset(row[0] for row in rows)

    def lock_checkouts(self, saga_ids: Collection[str]) -> dict[str, KnownCheckout]:
        rows = self.read(SQL["lock_checkouts"], saga_ids=list(saga_ids))
        return {row[0]: KnownCheckout(*row[1:]) for row in rows}

    def end_checkouts(self, rows: Collection[CheckoutEnd]) -> None:
        self.write(
            SQL["update_endings"],
            saga_ids=[row.saga_id for row in rows],
            statuses=[row.status for row in rows],
            saga_versions=[row.saga_version for row in rows],
            order_ids=[row.order_id for row in rows],
            reasons=[row.reason for row in rows],
            details=[row.detail for row in rows],
            versions_left=[row.cart_version_left for row in rows],
        )

    def prune_checkouts(self, page: PrunePage) -> Pruned:
        return self.prune(SQL["prune_checkouts"], page)

    def count_open(self, at_most: int) -> int:
        [(count,)] = self.read(SQL["count_open"], limit=at_most)
        return int(count)

    def open_checkouts(self, from_id: str, before_id: str, limit: int) -> list[OpenCheckout]:
        rows = self.read(SQL["select_open"], from_id=from_id, before_id=before_id, limit=limit)
        return [OpenCheckout(row[0], row[1], bytes(row[2])) for row in rows]


def _checkout(row: Any) -> Checkout:
    return Checkout(*row)
