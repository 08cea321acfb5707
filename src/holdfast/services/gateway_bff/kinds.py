"""The kinds of problems that only the public API has; docs/reference/problems.md explains each.

Those of carts are told by cart-crud, and only described here.
"""

from holdfast.runtime.problems import NOT_FOUND, Kind
from holdfast.services.gateway_bff.domain import Why

KEY_MISSING = Kind("idempotency_key_missing", 400, "An Idempotency-Key is needed")
KEY_INVALID = Kind("idempotency_key_invalid", 400, "The Idempotency-Key has a wrong form")
WHY = {
    Why.KEY_REUSED: Kind("idempotency_key_reused", 422, "The Idempotency-Key was used for another request"),
    Why.CART_IN_CHECKOUT: Kind("cart_in_checkout", 409, "The cart is in a checkout already"),
    Why.CART_BOUGHT: Kind("cart_bought", 409, "The cart was bought already"),
    Why.TOTAL_DIFFERS: Kind("total_differs", 409, "The total is another one now"),
    Why.SNAPSHOT_IS_OLD: Kind("cart_is_changing", 409, "The cart is just being changed"),
}
NOT_CANCELLABLE = Kind("not_cancellable", 409, "The checkout can no longer be cancelled")
NOT_BUYABLE = {
    "missing": NOT_FOUND,
    "empty": Kind("cart_empty", 422, "There is nothing in the cart"),
    "mixed_currency": Kind("mixed_currency", 422, "One cart has one currency"),
}
NOT_BUYABLE_OTHERWISE = Kind("cart_not_buyable", 422, "The cart cannot be bought")
NOT_BUYABLE_DETAIL = {
    "missing": "there is no such cart",
    "unknown_product": "a product in it is no longer sold",
    "total_out_of_range": "its total is zero or beyond what can be charged",
}

OF_CARTS = (
    Kind("unknown_product", 422, "There is no such product"),
    Kind("mixed_currency", 422, "One cart has one currency"),
    Kind("too_many_lines", 422, "The cart has too many lines"),
    Kind("too_many_pieces", 422, "The line has too many pieces"),
)
OTHER_VERSION = Kind("other_version", 412, "The cart has changed meanwhile")
