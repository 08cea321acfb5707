"""The port to the gateway's database: checkouts by key, cart, saga and age."""

from collections.abc import Collection, Sequence
from typing import NamedTuple, Protocol

from holdfast.messaging.store import Pruned, PrunePage, Transaction
from holdfast.services.gateway_bff.domain import CartKey, Checkout, CheckoutEnd


class OpenCheckout(NamedTuple):
    """A checkout whose end is not known yet, with the event that started it."""

    saga_id: str
    created_ms: int
    initiated: bytes


class KnownCheckout(NamedTuple):
    """What a final event is compared with: the last status and its saga version, the accepted total."""

    saga_version: int
    status: str
    total_minor: int
    currency: str


class GatewayTransaction(Transaction, Protocol):
    """The kernel's transaction and the gateway's own table."""

    def insert_checkouts(self, rows: Sequence[tuple[Checkout, bytes]]) -> frozenset[str]:
        """Insert rows with their encoded CheckoutInitiated, except conflicting ones; return the inserted ids.

        Unique: (user, key); one open checkout per cart; (cart, version) unless FAILED. A cart is named by
        its id and its user.
        """

    def delete_checkouts(self, saga_ids: Collection[str]) -> None:
        """Delete rows that this transaction inserted."""

    def versions_left(self, carts: Collection[CartKey]) -> dict[CartKey, int]:
        """Return for each cart the highest version at which a completed checkout left it."""

    def find_by_key(self, keys: Collection[tuple[str, str]]) -> dict[tuple[str, str], Checkout]:
        """Return checkouts by (user, idempotency key)."""

    def find_in_the_way(self, carts: Collection[tuple[CartKey, int]]) -> dict[CartKey, Checkout]:
        """Return for each cart the conflicting checkout: an open one, else the one bought at this version."""

    def find_owned(self, owned: Collection[tuple[str, str]]) -> dict[tuple[str, str], Checkout]:
        """Return the checkouts of these (saga id, user id) that exist; the user must be the owner."""

    def find_terminal(self, saga_ids: Collection[str]) -> frozenset[str]:
        """Return which of these have ended."""

    def lock_checkouts(self, saga_ids: Collection[str]) -> dict[str, KnownCheckout]:
        """Lock these rows in sorted order; return those that exist."""

    def end_checkouts(self, rows: Collection[CheckoutEnd]) -> None:
        """Write these ends over rows with an older saga version; the rows are locked already."""

    def prune_checkouts(self, page: PrunePage) -> Pruned:
        """Delete this page's ended checkouts with their keys, except those that others have locked."""

    def count_open(self, at_most: int) -> int:
        """Count the open checkouts, up to `at_most`."""

    def open_checkouts(self, from_id: str, before_id: str, limit: int) -> list[OpenCheckout]:
        """Return open checkouts in this key range, smallest first."""
