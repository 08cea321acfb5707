"""What the gateway asks of its database: checkouts by key, cart, saga and age."""

from collections.abc import Collection, Sequence
from typing import NamedTuple, Protocol

from holdfast.messaging.store import Pruned, PrunePage, Transaction
from holdfast.services.gateway_bff.domain import CartKey, Checkout, CheckoutEnd


class OpenCheckout(NamedTuple):
    """A checkout whose end was not seen, with the event that started it."""

    saga_id: str
    created_ms: int
    initiated: bytes


class KnownCheckout(NamedTuple):
    """What an end is compared with: the last status and its saga version, the total as accepted."""

    saga_version: int
    status: str
    total_minor: int
    currency: str


class GatewayTransaction(Transaction, Protocol):
    """The kernel's transaction and the gateway's own table."""

    def insert_checkouts(self, rows: Sequence[tuple[Checkout, bytes]]) -> frozenset[str]:
        """Insert rows with their encoded CheckoutInitiated, leaving out those that a uniqueness forbids.

        Unique: (user, key); one non-terminal checkout per cart; (cart, version) where not FAILED. A cart is
        named by its id and its user. Returns the saga ids that were inserted.
        """

    def delete_checkouts(self, saga_ids: Collection[str]) -> None:
        """Take back rows that this transaction inserted."""

    def versions_left(self, carts: Collection[CartKey]) -> dict[CartKey, int]:
        """Return the highest version that a completed checkout left each cart at."""

    def find_by_key(self, keys: Collection[tuple[str, str]]) -> dict[tuple[str, str], Checkout]:
        """Return checkouts by (user, idempotency key)."""

    def find_in_the_way(self, carts: Collection[tuple[CartKey, int]]) -> dict[CartKey, Checkout]:
        """Return, for carts and versions, the checkout that has each: an open one, or of this version."""

    def find_owned(self, owned: Collection[tuple[str, str]]) -> dict[tuple[str, str], Checkout]:
        """Return those of these (saga id, user id) that exist: a checkout only to its owner."""

    def find_terminal(self, saga_ids: Collection[str]) -> frozenset[str]:
        """Return which of these have ended."""

    def lock_checkouts(self, saga_ids: Collection[str]) -> dict[str, KnownCheckout]:
        """Lock these rows in sorted order; return those that exist."""

    def end_checkouts(self, rows: Collection[CheckoutEnd]) -> None:
        """Write how these ended, where the row's saga version is older; their rows are locked."""

    def prune_checkouts(self, page: PrunePage) -> Pruned:
        """Delete this page's checkouts that have ended, with their keys, but for those locked by others."""

    def count_open(self, at_most: int) -> int:
        """Count the open checkouts, but no further than this."""

    def open_checkouts(self, from_id: str, before_id: str, limit: int) -> list[OpenCheckout]:
        """Return open checkouts in this key range, smallest first."""
