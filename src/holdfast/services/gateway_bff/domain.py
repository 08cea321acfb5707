"""A checkout as the admission knows it: what was wanted, what was accepted, how it ended. Pure."""

from enum import StrEnum
from typing import NamedTuple

from holdfast.contracts.http_api import Snapshot
from holdfast.contracts.messages import CheckoutInitiated

ACCEPTED = "CHECKOUT_INITIATED"
COMPLETED = "COMPLETED"
FAILED = "FAILED"
TERMINAL = frozenset({COMPLETED, FAILED})
NOT_AFTER_MS = 7 * 86_400_000


CartKey = tuple[str, str]
"""(cart id, user id): what names a cart, at cart-crud as here."""


class CheckoutRequest(NamedTuple):
    """One shopper's request, with the snapshot of the cart; the fingerprint is of method, path and body."""

    user_id: str
    idempotency_key: str
    fingerprint: bytes
    cart_id: str
    payment_method: str
    snapshot: Snapshot
    expected_total_minor: int | None = None


class Checkout(NamedTuple):
    """A row. `saga_version` orders status events; `cart_version_left` is 0 until the saga completed."""

    saga_id: str
    user_id: str
    idempotency_key: str
    fingerprint: bytes
    cart_id: str
    cart_version: int
    total_minor: int
    currency: str
    created_ms: int
    status: str = ACCEPTED
    saga_version: int = 0
    order_id: str = ""
    reason: str = ""
    detail: str = ""
    cart_version_left: int = 0

    @property
    def cart(self) -> CartKey:
        return self.cart_id, self.user_id

    @property
    def is_terminal(self) -> bool:
        """Tell whether nothing will change it any more."""
        return self.status in TERMINAL


class RejectionReason(StrEnum):
    """Why a checkout was not started."""

    KEY_REUSED = "idempotency_key_reused"  # the same key with another body
    CART_IN_CHECKOUT = "cart_in_checkout"
    CART_BOUGHT = "cart_bought"
    TOTAL_DIFFERS = "total_differs"
    SNAPSHOT_IS_OLD = "snapshot_is_old"  # take it anew and ask again


class Accepted(NamedTuple):
    """The checkout, new or (`replayed`) of an earlier request with the same key and body."""

    checkout: Checkout
    replayed: bool = False


class Rejected(NamedTuple):
    """Nothing was started. `checkout` is the one in the way; `total_minor` the server's total."""

    why: RejectionReason
    checkout: Checkout | None = None
    total_minor: int = 0


StartResult = Accepted | Rejected


class CheckoutEnd(NamedTuple):
    """What a final event says of a checkout."""

    saga_id: str
    status: str
    saga_version: int
    order_id: str = ""
    reason: str = ""
    detail: str = ""
    cart_version_left: int = 0


def checkout_of(wanted: CheckoutRequest, saga_id: str, now_ms: int) -> Checkout:
    """Make the row of an accepted request."""
    return Checkout(
        saga_id=saga_id,
        user_id=wanted.user_id,
        idempotency_key=wanted.idempotency_key,
        fingerprint=wanted.fingerprint,
        cart_id=wanted.cart_id,
        cart_version=wanted.snapshot.version,
        total_minor=wanted.snapshot.total_minor,
        currency=wanted.snapshot.currency,
        created_ms=now_ms,
    )


def initiated(wanted: CheckoutRequest, now_ms: int, not_after_ms: int = NOT_AFTER_MS) -> CheckoutInitiated:
    """Make the event that starts the saga, at most `not_after_ms` from now: all in it is the server's."""
    return CheckoutInitiated(
        user_id=wanted.user_id,
        cart_id=wanted.cart_id,
        cart_version=wanted.snapshot.version,
        payment_method=wanted.payment_method,
        currency=wanted.snapshot.currency,
        total_minor=wanted.snapshot.total_minor,
        lines=wanted.snapshot.lines,
        not_after_ms=now_ms + not_after_ms,
    )


def replayed(wanted: CheckoutRequest, checkout: Checkout) -> StartResult:
    """Answer a key that was seen before: the same answer, or a refusal where the body is another one."""
    if checkout.fingerprint != wanted.fingerprint:
        return Rejected(RejectionReason.KEY_REUSED, checkout)
    return Accepted(checkout, replayed=True)
