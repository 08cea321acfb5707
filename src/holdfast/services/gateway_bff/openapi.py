"""The description of the public API, as docs/openapi.json and GET /openapi.json show it."""

from functools import cache
from typing import Any

from holdfast import __version__
from holdfast.contracts.http_api import (
    NAME_PATTERN,
    CheckoutStarted,
    CheckoutView,
    PricedCart,
    ProductPage,
    SetCart,
    SetLine,
    StartCheckout,
)
from holdfast.runtime.auth import SHOPPER
from holdfast.runtime.openapi import Operation, Parameter, ResponseDoc, openapi
from holdfast.runtime.parameters import PAGE_DEFAULT, PAGE_MAX
from holdfast.runtime.problems import DEPENDENCY_UNAVAILABLE, INVALID_REQUEST, NOT_FOUND, OVERLOADED
from holdfast.services.gateway_bff.problem_types import (
    KEY_INVALID,
    KEY_MISSING,
    NOT_BUYABLE,
    NOT_BUYABLE_OTHERWISE,
    NOT_CANCELLABLE,
    OF_CARTS,
    OTHER_VERSION,
    WHY,
)

_DESCRIPTION = (
    "Carts become paid orders, or nothing at all. Money is integer minor units and a currency code; "
    "prices, totals and owners come from the server. Every error is a problem (RFC 9457)."
)
_ETAG = {"ETag": "The cart's version in quotes, for `If-Match`."}
_UNAVAILABLE = (DEPENDENCY_UNAVAILABLE, OVERLOADED)


def _name(name: str, text: str) -> Parameter:
    return Parameter(name, "path", text, {"type": "string", "pattern": NAME_PATTERN}, required=True)


_CART = _name("cart_id", "A cart; its id is the shopper's to choose, among their own.")
_SKU = _name("sku", "A product's code.")
_IF_MATCH = Parameter(
    "If-Match", "header", "Change the cart only at this version.", {"type": "string", "examples": ['"3"']}
)
_CHECKOUT = Parameter("saga_id", "path", "The checkout.", {"type": "string", "format": "uuid"}, required=True)
_CART_RESPONSE = {200: ResponseDoc("The cart at the server's prices.", PricedCart, _ETAG)}

OPERATIONS = (
    Operation(
        "GET",
        "/v1/products",
        "listProducts",
        "Products in the order of their codes, page by page",
        scope="",
        answers={200: ResponseDoc("A page.", ProductPage)},
        parameters=(
            Parameter(
                "limit",
                "query",
                "How many products a page has.",
                {"type": "integer", "minimum": 1, "maximum": PAGE_MAX, "default": PAGE_DEFAULT},
            ),
            Parameter("after", "query", "The `next` of the page before.", {"type": "string"}),
        ),
        problems=(INVALID_REQUEST, *_UNAVAILABLE),
    ),
    Operation(
        "GET",
        "/v1/carts/{cart_id}",
        "readCart",
        "A cart with its lines, at the server's prices",
        scope=SHOPPER,
        answers=_CART_RESPONSE,
        parameters=(_CART,),
        problems=(NOT_FOUND, *_UNAVAILABLE),
    ),
    Operation(
        "PUT",
        "/v1/carts/{cart_id}",
        "setCart",
        "Make a cart, or set all its lines at once",
        scope=SHOPPER,
        answers=_CART_RESPONSE,
        parameters=(_CART, _IF_MATCH),
        body=SetCart,
        problems=(NOT_FOUND, OTHER_VERSION, *OF_CARTS, *_UNAVAILABLE),
    ),
    Operation(
        "PUT",
        "/v1/carts/{cart_id}/lines/{sku}",
        "setLine",
        "Set the pieces of one line of a cart",
        scope=SHOPPER,
        answers=_CART_RESPONSE,
        parameters=(_CART, _SKU, _IF_MATCH),
        body=SetLine,
        problems=(NOT_FOUND, OTHER_VERSION, *OF_CARTS, *_UNAVAILABLE),
    ),
    Operation(
        "DELETE",
        "/v1/carts/{cart_id}/lines/{sku}",
        "removeLine",
        "Take one line out of a cart",
        scope=SHOPPER,
        answers=_CART_RESPONSE,
        parameters=(_CART, _SKU, _IF_MATCH),
        problems=(NOT_FOUND, OTHER_VERSION, *_UNAVAILABLE),
    ),
    Operation(
        "POST",
        "/v1/checkouts",
        "startCheckout",
        "Check a cart out",
        scope=SHOPPER,
        answers={
            202: ResponseDoc(
                "Accepted: it will end as COMPLETED or as FAILED, whatever happens meanwhile.",
                CheckoutStarted,
                {
                    "Location": "Where it can be followed.",
                    "Idempotency-Replayed": "`true` where this key was accepted before.",
                },
            )
        },
        parameters=(
            Parameter(
                "Idempotency-Key",
                "header",
                "A fresh value for each checkout; sent again with the same body it gets the same answer.",
                {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[ -~]*$"},
                required=True,
            ),
        ),
        body=StartCheckout,
        problems=(
            KEY_MISSING,
            KEY_INVALID,
            *WHY.values(),
            *NOT_BUYABLE.values(),
            NOT_BUYABLE_OTHERWISE,
            *_UNAVAILABLE,
        ),
    ),
    Operation(
        "GET",
        "/v1/checkouts/{saga_id}",
        "readCheckout",
        "How a checkout of the caller stands",
        scope=SHOPPER,
        answers={
            200: ResponseDoc(
                "How it stands.", CheckoutView, {"Preference-Applied": "Where `Prefer: wait` was heeded."}
            )
        },
        parameters=(
            _CHECKOUT,
            Parameter(
                "Prefer",
                "header",
                "`wait=N` holds the answer until the end, at most N seconds and at most 30 (RFC 7240).",
                {"type": "string", "examples": ["wait=10"]},
            ),
        ),
        problems=(NOT_FOUND, *_UNAVAILABLE),
    ),
    Operation(
        "POST",
        "/v1/checkouts/{saga_id}/cancel",
        "cancelCheckout",
        "Take a checkout back before it can only go forward",
        scope=SHOPPER,
        answers={
            202: ResponseDoc(
                "It is being undone, or was undone at once: it will end as FAILED.",
                CheckoutView,
                {"Location": "Where it can be followed."},
            ),
            200: ResponseDoc("It had ended as FAILED already: there is nothing to undo.", CheckoutView),
        },
        parameters=(_CHECKOUT,),
        problems=(NOT_FOUND, NOT_CANCELLABLE, *_UNAVAILABLE),
    ),
)


@cache
def document() -> dict[str, Any]:
    """Return the OpenAPI document."""
    return openapi("Holdfast", __version__, _DESCRIPTION, OPERATIONS)
