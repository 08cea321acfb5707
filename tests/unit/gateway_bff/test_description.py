"""What is written about the API is what it is: OpenAPI document, routes, reference of problems."""

import json
import re
from pathlib import Path
from typing import Any, cast

from scripts.openapi import TARGET, text
from starlette.routing import Route
from tests.unit.gateway_bff.gateway_harness import GatewayHarness, run_scenario

from holdfast.runtime import problems
from holdfast.services.cart_crud import api as cart_api
from holdfast.services.checkout_orchestrator import api as saga_api
from holdfast.services.gateway_bff import problem_types
from holdfast.services.gateway_bff.api import app
from holdfast.services.gateway_bff.openapi import OPERATIONS, document
from holdfast.services.inventory_write import api as inventory_api

ROOT = Path(__file__).parents[3]


def test_the_committed_document_is_the_one_that_is_served() -> None:
    assert TARGET.read_text("utf-8") == text(), "run: python scripts/openapi.py"


def test_every_route_is_described_and_every_description_has_a_route() -> None:
    nothing: Any = None
    upstreams = cast("Any", type("Neighbours", (), {"forward": None, "sagas": None, "snapshots": None}))
    door = cast("Any", type("Door", (), {"serve": None}))
    application = app(nothing, nothing, door, upstreams, nothing)
    routes = {
        (method, route.path)
        for route in application.routes
        if isinstance(route, Route) and route.methods
        for method in route.methods - {"HEAD"}
    }
    assert routes == {(each.method, each.path) for each in OPERATIONS} | {("GET", "/openapi.json")}


def test_the_document_is_served_to_everybody() -> None:
    async def scenario(harness: GatewayHarness) -> None:
        answer = await harness.client.get("/openapi.json")
        assert (answer.status_code, answer.json()) == (200, json.loads(text()))

    run_scenario(scenario)


def test_the_document_names_every_problem_and_resolves_every_reference() -> None:
    described = document()
    assert described["openapi"] == "3.1.0"
    whole = json.dumps(described)
    for reference in re.findall(r'"\$ref": "#/components/schemas/(\w+)"', whole):
        assert reference in described["components"]["schemas"]
    for operation in OPERATIONS:
        answers = described["paths"][operation.path][operation.method.lower()]["responses"]
        for kind in operation.all_problems().values():
            assert f"`{kind.code}`" in answers[str(kind.status)]["description"]


def test_the_reference_of_problems_explains_each_code_with_its_status_and_no_other() -> None:
    page = (ROOT / "docs/reference/problems.md").read_text("utf-8")
    explained = {
        (code, int(status)) for code, status in re.findall(r"^\| `(\w+)` \| (\d+) \|", page, re.MULTILINE)
    }
    known = {
        *problems.GENERAL,
        *problem_types.WHY.values(),
        *problem_types.NOT_BUYABLE.values(),
        problem_types.NOT_BUYABLE_OTHERWISE,
        problem_types.KEY_MISSING,
        problem_types.KEY_INVALID,
        problem_types.NOT_CANCELLABLE,
        saga_api.PAST_THE_PIVOT,
        saga_api.SAGA_ENDED,
        *cart_api.WRONG.values(),
        cart_api.OTHER_VERSION,
        cart_api.SEVERAL_CARTS,
        inventory_api.STOCK_IS_GONE,
    }
    assert explained == {(kind.code, kind.status) for kind in known}


def test_the_gateway_describes_the_problems_of_carts_as_cart_crud_does() -> None:
    assert set(problem_types.OF_CARTS) == set(cart_api.WRONG.values())
    assert problem_types.OTHER_VERSION == cart_api.OTHER_VERSION
