"""The HTTP bodies that more than one service knows: products, carts, snapshots, a saga as it is told.

Requests refuse unknown fields, so that a client's price or total is an error and never silently dropped.
"""

from typing import Annotated

from msgspec import Meta, Struct

from holdfast.contracts.messages import (
    LINES_MAX,
    MINOR_MAX,
    QUANTITY_MAX,
    Currency,
    EpochMs,
    Line,
    Minor,
    Version,
)

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}(?!\n)$"
"""The form of cart ids and product codes: safe in a path, a log line and a key.

`(?!\\n)`: where Python reads the pattern, `$` alone would let a line feed end the name.
"""

UUID_PATTERN = r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}(?!\n)$"
"""The one way to write the id of a saga: another spelling of it names nothing."""

REASON_PATTERN = r"^ *[^\x00-\x20\x7f][^\x00-\x1f\x7f]*(?!\n)$"
"""One line of text that says something."""

PRODUCTS_A_CALL = 5_000
SNAPSHOTS_A_CALL = 500
PRICE_MINOR_MAX = MINOR_MAX // (LINES_MAX * QUANTITY_MAX)
"""So that no cart's total can leave the range of exact integers."""

Code = Annotated[str, Meta(pattern=NAME_PATTERN, description="1 to 64 letters, digits, `.`, `_` or `-`.")]
SagaId = Annotated[str, Meta(pattern=UUID_PATTERN)]
UserId = Annotated[str, Meta(pattern=r"^[^\x00-\x1f\x7f]{1,200}(?!\n)$")]
Pieces = Annotated[int, Meta(ge=1, le=QUANTITY_MAX)]
PriceMinor = Annotated[int, Meta(ge=1, le=PRICE_MINOR_MAX, description="In minor units, such as pence.")]


class Product(Struct, frozen=True, forbid_unknown_fields=True):
    """A code that can be bought, at the price of one piece."""

    sku: Code
    price_minor: PriceMinor
    currency: Currency


class ProductPage(Struct, frozen=True):
    """Products in the order of their codes; `next` is the `after` of the following page, null on the last."""

    items: tuple[Product, ...]
    next: str | None


class SetProducts(Struct, frozen=True, forbid_unknown_fields=True):
    """Prices to set; a code that is not named keeps its price."""

    products: Annotated[tuple[Product, ...], Meta(min_length=1, max_length=PRODUCTS_A_CALL)]


class ProductsSet(Struct, frozen=True):
    """How many prices were set."""

    products: int


class RequestedLine(Struct, frozen=True, forbid_unknown_fields=True):
    """Pieces of one code. There is no price here: prices come from the server."""

    sku: Code
    quantity: Pieces


class SetCart(Struct, frozen=True, forbid_unknown_fields=True):
    """All lines of a cart at once; a repeated code is summed, and at most 200 codes remain."""

    lines: tuple[RequestedLine, ...]


class SetLine(Struct, frozen=True, forbid_unknown_fields=True):
    """The pieces of one line."""

    quantity: Pieces


class PricedCart(Struct, frozen=True):
    """A cart at the server's prices; `currency` is null where it is empty. `version` counts its changes."""

    cart_id: str
    version: Version
    currency: str | None
    total_minor: Minor
    lines: tuple[Line, ...]


class ActReason(Struct, frozen=True, forbid_unknown_fields=True):
    """An operator's reason, kept with what was done."""

    reason: Annotated[str, Meta(max_length=500, pattern=REASON_PATTERN)]


class HoldCart(ActReason, frozen=True, forbid_unknown_fields=True):
    """An operator's reason, and whose cart is meant: needed only if several users have one of this id."""

    user_id: UserId | None = None


class CartHold(Struct, frozen=True):
    """Whether an operator keeps a user's cart from being cleared, and so from being bought."""

    cart_id: str
    user_id: str
    held: bool


class CartOfUser(Struct, frozen=True, forbid_unknown_fields=True):
    """A cart and who says that it is theirs."""

    cart_id: Code
    user_id: UserId


class SnapshotsRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """Carts to read at one moment."""

    carts: Annotated[tuple[CartOfUser, ...], Meta(min_length=1, max_length=SNAPSHOTS_A_CALL)]


class Snapshot(Struct, frozen=True):
    """A cart as it is, or in `refused` why there is nothing to buy: missing, empty or mixed_currency."""

    refused: str = ""
    version: Version = 0
    currency: str = ""
    total_minor: int = 0
    lines: tuple[Line, ...] = ()


class Snapshots(Struct, frozen=True):
    """The snapshots, in the order in which the carts were named."""

    carts: tuple[Snapshot, ...]


class SagaEvent(Struct, frozen=True):
    """An event that changed a saga, and the states that it led through."""

    kind: str
    path: tuple[str, ...]
    at_ms: EpochMs


class SagaView(Struct, frozen=True):
    """A saga as the orchestrator tells it: what the gateway needs of it. Times are Unix milliseconds."""

    saga_id: str
    state: str
    version: Version
    reason: str = ""
    stalled_ms: EpochMs = 0
    owed: tuple[str, ...] = ()
    results: dict[str, dict[str, object]] = {}
    history: tuple[SagaEvent, ...] = ()


class SagaOfUser(Struct, frozen=True, forbid_unknown_fields=True):
    """A saga, and the user for whom the gateway asks."""

    saga_id: SagaId
    user_id: UserId


class SagaViewsRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """Sagas to tell of."""

    sagas: Annotated[tuple[SagaOfUser, ...], Meta(min_length=1, max_length=SNAPSHOTS_A_CALL)]


class SagaViews(Struct, frozen=True):
    """The sagas, in the order in which they were named; null if there is none, or it is another user's."""

    sagas: tuple[SagaView | None, ...]


class CancelSaga(Struct, frozen=True, forbid_unknown_fields=True):
    """The saga that its user does not want any more; the gateway has found it among that user's checkouts."""

    saga_id: SagaId
    user_id: UserId


class Cancellation(Struct, frozen=True):
    """Whether the saga ends, or has ended, with nothing bought; and how it stands."""

    cancelled: bool
    saga: SagaView


PaymentMethod = Annotated[
    str,
    Meta(pattern=r"^[A-Za-z0-9_]{1,100}(?!\n)$", description="The provider's token; never a card number."),
]


class StartCheckout(Struct, frozen=True, forbid_unknown_fields=True):
    """What to buy and how to pay. `expected_total_minor` is what the shopper was shown, if anything."""

    cart_id: Code
    payment_method: PaymentMethod
    expected_total_minor: Minor | None = None


class CheckoutStarted(Struct, frozen=True):
    """The checkout that was accepted."""

    saga_id: str
    status: str


class StepView(Struct, frozen=True):
    """A step: waiting, pending, done, failed, undoing, undone. Times are Unix milliseconds, 0 for not yet."""

    name: str
    state: str
    started_ms: EpochMs = 0
    finished_ms: EpochMs = 0


class CheckoutView(Struct, frozen=True):
    """How a checkout stands.

    `money_held`: money may be held or taken for it although it is not completed. `message` is one sentence
    for the shopper. `stale`: the orchestrator did not answer, so this is the last that the gateway knew.
    """

    saga_id: str
    state: str
    cart_id: str
    total_minor: Minor
    currency: Currency
    money_held: bool
    message: str
    created_ms: EpochMs
    steps: tuple[StepView, ...] = ()
    order_id: str | None = None
    reason: str | None = None
    detail: str | None = None
    stalled: bool = False
    stale: bool = False
