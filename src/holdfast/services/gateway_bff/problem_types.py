"""The problem types that only the public API has; docs/reference/problems.md explains each.

cart-crud raises those of carts; here they are only described.
"""

from holdfast.runtime.problems import NOT_FOUND, ProblemType
from holdfast.services.gateway_bff.domain import RejectionReason

KEY_MISSING = ProblemType("idempotency_key_missing", 400, "An Idempotency-Key is needed")
KEY_INVALID = ProblemType("idempotency_key_invalid", 400, "The Idempotency-Key has a wrong form")
WHY = {
    RejectionReason.KEY_REUSED: ProblemType(
        "idempotency_key_reused", 422, "The Idempotency-Key was used for another request"
    ),
    RejectionReason.CART_IN_CHECKOUT: ProblemType(
        "cart_in_checkout", 409, "The cart is in a checkout already"
    ),
    RejectionReason.CART_BOUGHT: ProblemType("cart_bought", 409, "The cart was bought already"),
    RejectionReason.TOTAL_DIFFERS: ProblemType("total_differs", 409, "The total is another one now"),
    RejectionReason.SNAPSHOT_IS_OLD: ProblemType("cart_is_changing", 409, "The cart is just being changed"),
}
NOT_CANCELLABLE = ProblemType("not_cancellable", 409, "The checkout can no longer be cancelled")
NOT_BUYABLE = {
    "missing": NOT_FOUND,
    "empty": ProblemType("cart_empty", 422, "There is nothing in the cart"),
    "mixed_currency": ProblemType("mixed_currency", 422, "One cart has one currency"),
}
NOT_BUYABLE_OTHERWISE = ProblemType("cart_not_buyable", 422, "The cart cannot be bought")
NOT_BUYABLE_DETAIL = {
    "missing": "there is no such cart",
    "unknown_product": "a product in it is no longer sold",
    "total_out_of_range": "its total is zero or beyond what can be charged",
}

OF_CARTS = (
    ProblemType("unknown_product", 422, "There is no such product"),
    ProblemType("mixed_currency", 422, "One cart has one currency"),
    ProblemType("too_many_lines", 422, "The cart has too many lines"),
    ProblemType("too_many_pieces", 422, "The line has too many pieces"),
)
OTHER_VERSION = ProblemType("other_version", 412, "The cart has changed meanwhile")
