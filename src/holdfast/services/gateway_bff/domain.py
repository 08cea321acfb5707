"""A checkout in the gateway: the request, the row of an accepted one, its end. Pure."""

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
"""(cart id, user id): together they name a cart, in cart-crud and here."""


class CheckoutRequest(NamedTuple):
    """One shopper's request with the snapshot of the cart. `fingerprint` hashes method, path and body."""

    user_id: str
    idempotency_key: str
    fingerprint: bytes
    cart_id: str
    payment_method: str
    snapshot: Snapshot
    expected_total_minor: int | None = None


class Checkout(NamedTuple):
    """A row. `saga_version` orders final events; `cart_version_left` is 0 until the saga has completed."""

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
        """Tell whether the checkout has ended; nothing changes it any more."""
        return self.status in TERMINAL


class RejectionReason(StrEnum):
    """Why a checkout was not started."""

    KEY_REUSED = "idempotency_key_reused"  # the same key with another body
    CART_IN_CHECKOUT = "cart_in_checkout"
    CART_BOUGHT = "cart_bought"
    TOTAL_DIFFERS = "total_differs"
    SNAPSHOT_IS_OLD = "snapshot_is_old"  # take a new snapshot and try again


class Accepted(NamedTuple):
    """The checkout: a new one or, if `replayed`, that of an earlier request with the same key and body."""

    checkout: Checkout
    replayed: bool = False


class Rejected(NamedTuple):
    """Nothing was started. `checkout` is the conflicting one; `total_minor` is the server's total."""

    why: RejectionReason
    checkout: Checkout | None = None
    total_minor: int = 0


StartResult = Accepted | Rejected


class CheckoutEnd(NamedTuple):
    """How a checkout ended, as its final event says."""

    saga_id: str
    status: str
    saga_version: int
    order_id: str = ""
    reason: str = ""
    detail: str = ""
    cart_version_left: int = 0


def checkout_of(request: CheckoutRequest, saga_id: str, now_ms: int) -> Checkout:
    """Make the row of an accepted request."""
    return Checkout(
        saga_id=saga_id,
        user_id=request.user_id,
        idempotency_key=request.idempotency_key,
        fingerprint=request.fingerprint,
        cart_id=request.cart_id,
        cart_version=request.snapshot.version,
        total_minor=request.snapshot.total_minor,
        currency=request.snapshot.currency,
        created_ms=now_ms,
    )


def initiated(request: CheckoutRequest, now_ms: int, not_after_ms: int = NOT_AFTER_MS) -> CheckoutInitiated:
    """Make the event that starts the saga within `not_after_ms` from now, at the snapshot's prices."""
    return CheckoutInitiated(
        user_id=request.user_id,
        cart_id=request.cart_id,
        cart_version=request.snapshot.version,
        payment_method=request.payment_method,
        currency=request.snapshot.currency,
        total_minor=request.snapshot.total_minor,
        lines=request.snapshot.lines,
        not_after_ms=now_ms + not_after_ms,
    )


def replayed(request: CheckoutRequest, checkout: Checkout) -> StartResult:
    """Answer a known key: with the same checkout, or with a rejection if the request differs."""
    if checkout.fingerprint != request.fingerprint:
        return Rejected(RejectionReason.KEY_REUSED, checkout)
    return Accepted(checkout, replayed=True)
