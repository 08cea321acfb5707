"""gateway-bff's table in memory; it behaves like that of `store`."""

from collections.abc import Collection, Sequence

from holdfast.messaging.memory_store import CHANGED, MemoryTransaction
from holdfast.messaging.store import Pruned, PrunePage
from holdfast.services.gateway_bff.domain import COMPLETED, FAILED, CartKey, Checkout, CheckoutEnd
from holdfast.services.gateway_bff.store_port import KnownCheckout, OpenCheckout


class MemoryGatewayTransaction(MemoryTransaction):
    """See `store_port.GatewayTransaction` for every promise."""

    def insert_checkouts(self, rows: Sequence[tuple[Checkout, bytes]]) -> frozenset[str]:
        inserted = []
        for row, value in sorted(rows, key=lambda each: each[0].cart):  # the order in which SQL inserts
            if not any(_collide(row, other) for other in self._rows()):
                self.table("checkout")[row.saga_id] = (row, value)
                self.changed("checkout", row.saga_id)
                inserted.append(row.saga_id)
        return frozenset(inserted)

    def delete_checkouts(self, saga_ids: Collection[str]) -> None:
        for saga_id in saga_ids:
            del self.table("checkout")[saga_id], self.table(CHANGED)["checkout", saga_id]

    def versions_left(self, carts: Collection[CartKey]) -> dict[CartKey, int]:
        left: dict[CartKey, int] = {}
        for row in self._rows():
            if row.cart in carts and row.status == COMPLETED:
                left[row.cart] = max(left.get(row.cart, 0), row.cart_version_left)
        return left

    def find_by_key(self, keys: Collection[tuple[str, str]]) -> dict[tuple[str, str], Checkout]:
        found = {(row.user_id, row.idempotency_key): row for row in self._rows()}
        return {key: found[key] for key in keys if key in found}

    def find_in_the_way(self, carts: Collection[tuple[CartKey, int]]) -> dict[CartKey, Checkout]:
        found: dict[CartKey, Checkout] = {}
        for row in sorted(self._rows(), key=lambda row: row.saga_id):
            same = (row.cart, row.cart_version) in carts and row.status != FAILED
            is_open = any(row.cart == cart for cart, _ in carts) and not row.is_terminal
            if is_open or (same and row.cart not in found):
                found[row.cart] = row
        return found

    def find_owned(self, owned: Collection[tuple[str, str]]) -> dict[tuple[str, str], Checkout]:
        mine = {(row.saga_id, row.user_id): row for row in self._rows()}
        return {pair: mine[pair] for pair in owned if pair in mine}

    def find_terminal(self, saga_ids: Collection[str]) -> frozenset[str]:
        return frozenset(row.saga_id for row in self._rows() if row.saga_id in saga_ids and row.is_terminal)

    def lock_checkouts(self, saga_ids: Collection[str]) -> dict[str, KnownCheckout]:
        return {
            row.saga_id: KnownCheckout(row.saga_version, row.status, row.total_minor, row.currency)
            for row in self._rows()
            if row.saga_id in saga_ids
        }

    def end_checkouts(self, rows: Collection[CheckoutEnd]) -> None:
        for end in rows:
            row, value = self.table("checkout")[end.saga_id]
            if row.saga_version < end.saga_version:
                self.table("checkout")[end.saga_id] = (row._replace(**end._asdict()), value)
                self.changed("checkout", end.saga_id)

    def prune_checkouts(self, page: PrunePage) -> Pruned:
        checkouts = self.table("checkout")
        candidates, pruned = self.look(checkouts, page)
        ended = [saga_id for saga_id in candidates if checkouts[saga_id][0].is_terminal]
        pruned_ids = [saga_id for saga_id in ended if self.is_old("checkout", saga_id, page)]
        for saga_id in pruned_ids:
            del checkouts[saga_id], self.table(CHANGED)["checkout", saga_id]
        return pruned._replace(rows=len(pruned_ids))

    def count_open(self, at_most: int) -> int:
        return min(at_most, sum(not row.is_terminal for row in self._rows()))

    def open_checkouts(self, from_id: str, before_id: str, limit: int) -> list[OpenCheckout]:
        rows = [
            OpenCheckout(saga_id, row.created_ms, value)
            for saga_id, (row, value) in self.table("checkout").items()
            if from_id <= saga_id < before_id and not row.is_terminal
        ]
        return sorted(rows)[:limit]

    def _rows(self) -> list[Checkout]:
        return [row for row, _ in self.table("checkout").values()]


def _collide(row: Checkout, other: Checkout) -> bool:
    if (row.user_id, row.idempotency_key) == (other.user_id, other.idempotency_key):
        return True
    if row.cart != other.cart:
        return False
    return not other.is_terminal or (row.cart_version == other.cart_version and other.status != FAILED)
