"""Which endpoint is on which port: operators' paths are nowhere where shoppers, services or providers are."""

from typing import Any, cast

import pytest
from fastapi import FastAPI
from starlette.routing import Route

from holdfast.runtime.openapi import Apps
from holdfast.services.cart_crud import api as cart_api
from holdfast.services.checkout_orchestrator import api as saga_api
from holdfast.services.inventory_write import api as inventory_api
from holdfast.services.payment_gateway import api as payment_api

NOTHING: Any = cast("Any", type("Nothing", (), {"__getattr__": lambda self, _: self}))()


def routes(app: FastAPI) -> set[str]:
    """Method and path of each route."""
    return {
        f"{method} {route.path}"
        for route in app.routes
        if isinstance(route, Route)
        for method in (route.methods or set()) - {"HEAD"}
    }


@pytest.mark.parametrize(
    ("made", "public", "ops"),
    [
        (
            cart_api.apps(NOTHING, NOTHING, NOTHING),
            {
                "GET /v1/products",
                "GET /v1/carts/{cart_id}",
                "PUT /v1/carts/{cart_id}",
                "PUT /v1/carts/{cart_id}/lines/{sku}",
                "DELETE /v1/carts/{cart_id}/lines/{sku}",
                "POST /internal/v1/snapshots",
            },
            {"PUT /v1/products", "POST /v1/carts/{cart_id}/hold", "POST /v1/carts/{cart_id}/release"},
        ),
        (
            saga_api.apps(NOTHING, NOTHING, NOTHING, NOTHING, NOTHING),
            {"POST /internal/v1/sagas", "POST /internal/v1/sagas/cancel"},
            {
                "GET /v1/sagas",
                "GET /v1/sagas/{saga_id}",
                "POST /v1/sagas/{saga_id}/cancel",
                "POST /v1/sagas/{saga_id}/resume",
            },
        ),
        (
            payment_api.apps(NOTHING, NOTHING),
            {"POST /webhooks/provider"},
            {"GET /v1/payments", "POST /v1/payments/{saga_id}/resolve"},
        ),
    ],
    ids=["cart-crud", "checkout-orchestrator", "payment-gateway"],
)
def test_operators_have_a_port_of_their_own(made: Apps, public: set[str], ops: set[str]) -> None:
    assert routes(made.public) == public
    assert routes(made.ops) == ops


def test_the_stock_is_for_operators_alone() -> None:
    assert routes(inventory_api.app(NOTHING, NOTHING)) == {"GET /v1/stock", "PUT /v1/stock"}
