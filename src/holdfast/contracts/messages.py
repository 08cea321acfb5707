"""Every command and event of the checkout, as strict, bounded structs.

What a message means to a service belongs to that service; where it travels belongs to `topics`.
"""

from typing import Annotated

from msgspec import Meta, Struct

LINES_MAX = 200
QUANTITY_MAX = 100_000
MINOR_MAX = 2**53 - 1  # the largest integer that every JSON reader keeps exactly

Sku = Annotated[str, Meta(min_length=1, max_length=64)]
Quantity = Annotated[int, Meta(ge=1, le=QUANTITY_MAX)]
Minor = Annotated[int, Meta(ge=0, le=MINOR_MAX)]
Currency = Annotated[str, Meta(pattern="^[A-Z]{3}$", max_length=3)]  # $ alone lets a newline follow
Name = Annotated[str, Meta(min_length=1, max_length=200)]
Reason = Annotated[str, Meta(min_length=1, max_length=64)]
Detail = Annotated[str, Meta(max_length=1000)]
EpochMs = Annotated[int, Meta(ge=0, le=MINOR_MAX)]
Version = Annotated[int, Meta(ge=0, le=MINOR_MAX)]


class Payload(Struct, frozen=True):
    """Base of all payloads; unknown fields are ignored, so that contracts can grow."""


class Line(Payload, frozen=True):
    """One line of a cart snapshot: pieces of a code at the server's price."""

    sku: Sku
    quantity: Quantity
    unit_price_minor: Minor


Lines = Annotated[tuple[Line, ...], Meta(min_length=1, max_length=LINES_MAX)]


class CheckoutInitiated(Payload, frozen=True):
    """A shopper's checkout was accepted; carries the whole snapshot. `not_after_ms` is Unix time."""

    user_id: Name
    cart_id: Name
    cart_version: Version
    payment_method: Name
    currency: Currency
    total_minor: Minor
    lines: Lines
    not_after_ms: EpochMs


class ReserveInventory(Payload, frozen=True):
    lines: Lines
    not_after_ms: EpochMs


class ProcessPayment(Payload, frozen=True):
    user_id: Name
    payment_method: Name
    amount_minor: Minor
    currency: Currency
    not_after_ms: EpochMs


class CreateOrder(Payload, frozen=True):
    user_id: Name
    currency: Currency
    total_minor: Minor
    lines: Lines
    not_after_ms: EpochMs


class ClearCart(Payload, frozen=True):
    """Take the snapshot's quantities out of the cart. The pivot: it never expires."""

    user_id: Name
    cart_id: Name
    cart_version: Version
    lines: Lines


class EmptyPayload(Payload, frozen=True):
    """The payload of messages whose type and saga say all: undos, confirms, `*Compensated`."""


class InventoryReserved(Payload, frozen=True):
    pieces: Annotated[int, Meta(ge=1, le=MINOR_MAX)]


class PaymentProcessed(Payload, frozen=True):
    charge_id: Name
    amount_minor: Minor
    currency: Currency


class OrderCreated(Payload, frozen=True):
    order_id: Name
    total_minor: Minor
    currency: Currency


class CartCleared(Payload, frozen=True):
    """`version_left` is the version that the cart was left at, `cart_version` the snapshot's, as asked."""

    version_left: Version
    cart_version: Version


class Refused(Payload, frozen=True):
    """Why a step was refused: a code for programs, a sentence for people."""

    reason: Reason
    detail: Detail = ""


class OutcomeRequested(Payload, frozen=True):
    """A participant asks how the saga ended, for a step that it still holds."""

    step: Name


class CheckoutCompleted(Payload, frozen=True):
    """The final event of a paid order. `saga_version` orders status events of one saga."""

    order_id: Name
    total_minor: Minor
    currency: Currency
    cart_version_left: Version
    saga_version: Version


class CheckoutFailed(Payload, frozen=True):
    """The final event of an undone checkout. `saga_version` orders status events of one saga."""

    reason: Reason
    saga_version: Version
    detail: Detail = ""


SCHEMA_VERSION = 1
"""Version of all schemas under `schemas/`; inside it, change is additive only."""
