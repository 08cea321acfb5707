"""Odd inputs at every endpoint of a running platform: a problem that says so, and never a bug (500)."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import pytest
from tests.callers import gateway_token
from tests.e2e.conftest import running
from tests.e2e.shopper import Shopper

from holdfast.contracts.internal_calls import CANCEL, SAGAS, SNAPSHOTS
from holdfast.contracts.topics import CART, GATEWAY, INVENTORY, ORCHESTRATOR, PAYMENT, SERVICES
from holdfast.local.keys import Keys
from holdfast.local.platform import Platform

NOBODYS = "00000000-0000-7000-8000-000000000000"
NEVER_A_NAME = [
    "%00",
    "a%00b",
    "a%0ab",
    "a%0a",
    "x" * 301,
    "%ff%fe",
    "%D9%A1%D9%A2",
    "%E2%80%AE",
    "%20",
    "%F0%9F%98%80",
    "'%22;--",
]
"""What no id, code, word or number may look like, as it stands in a path or a query."""
NEVER_AN_ID = [
    *NEVER_A_NAME,
    "nonsense",
    "9" * 40,
    "-1",
    "00000000000070008000000000000000",
    "%7B00000000-0000-7000-8000-000000000000%7D",
    "urn:uuid:00000000-0000-7000-8000-000000000000",
    "ABCDEF00-0000-7000-8000-000000000000",
    "%D9%A10000000-0000-7000-8000-000000000000",
    f"{NOBODYS}%0a",
]
NEVER_A_NUMBER = [*NEVER_A_NAME, "", "-1", "0", "1.5", "1e3", "%2B1", "1_0", "9" * 40, "9223372036854775808"]
ODD_VALUES: list[object] = [
    "\x00",
    "a\x00b",
    "a\n",
    "\x7f",
    "x" * 100_000,
    "",
    "\t",
    "\u202e\n",
    9**40,
    -1,
    1.5,
    1e308,
    True,
    None,
    [],
    {},
    [[]],
]
"""What is no value of any field of any body."""
ODD_BODIES = [b"", b"\x00", b"{", b"[]", b"\xff\xfe", b'{"a":1,"a":2}', b"[" * 20_000, b'{"reason":NaN}']

Ask = Callable[..., httpx2.Response]


@pytest.fixture(scope="module")
def ask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ask]:
    """Ask a service of one platform for all these tests; whatever is asked here must be refused."""
    with (
        running(tmp_path_factory.mktemp("platform"), "postgres") as platform,
        httpx2.Client(trust_env=False, timeout=60) as client,
    ):
        buy_something(platform)
        tokens = Keys(platform.info.folder.keys)
        operator = tokens.token("olga", operator=True)

        def refused(
            service: str, method: str, path: str, body: bytes = b"", token: str = ""
        ) -> httpx2.Response:
            answer = client.request(
                method,
                platform.info.services[service].url + path,
                content=body,
                headers={
                    "Authorization": f"Bearer {_token(tokens, token, service) if token else operator}",
                    "Idempotency-Key": "odd",
                },
            )
            asked = (
                f"{service}: {method} {path[:150]} {body[:150]!r}: {answer.status_code} {answer.text[:200]}"
            )
            assert 400 <= answer.status_code < 500, asked
            assert answer.headers["content-type"] == "application/problem+json", asked
            assert answer.json()["status"] == answer.status_code, asked
            return answer

        yield refused


def buy_something(platform: Platform) -> None:
    shopper = Shopper(platform.info)
    assert shopper.end_of(shopper.buy({"pen": 1}))["state"] == "COMPLETED"


def _token(keys: Keys, who: str, service: str) -> str:
    return gateway_token(keys, service) if who == GATEWAY else keys.token(who)


BECAUSE = json.dumps({"reason": "odd"}).encode()
RESOLVE = json.dumps({"outcome": "charged", "reason": "odd"}).encode()
PATHS: list[tuple[str, str, str, bytes, str]] = [
    (ORCHESTRATOR, "GET", "/v1/sagas/{}", b"", ""),
    (ORCHESTRATOR, "POST", "/v1/sagas/{}/cancel", BECAUSE, ""),
    (ORCHESTRATOR, "POST", "/v1/sagas/{}/resume", BECAUSE, ""),
    (PAYMENT, "POST", "/v1/payments/{}/resolve", RESOLVE, ""),
    (PAYMENT, "GET", "/v1/payments?saga_id={}", b"", ""),
    (PAYMENT, "GET", "/v1/payments?after={}", b"", ""),
    (ORCHESTRATOR, "GET", "/v1/sagas?after={}", b"", ""),
    (GATEWAY, "GET", "/v1/checkouts/{}", b"", "ada"),
    (GATEWAY, "POST", "/v1/checkouts/{}/cancel", b"", "ada"),
    *((service, "GET", "/v1/dead-letters?saga_id={}", b"", "") for service in SERVICES),
]


@pytest.mark.parametrize(("service", "method", "path", "body", "token"), PATHS)
def test_what_is_no_saga_id_in_its_one_form_is_refused(
    ask: Ask, service: str, method: str, path: str, body: bytes, token: str
) -> None:
    for odd in NEVER_AN_ID:
        ask(service, method, path.format(odd), body, token)


NAMES: list[tuple[str, str, str, bytes, str]] = [
    (CART, "POST", "/v1/carts/{}/hold", BECAUSE, ""),
    (CART, "POST", "/v1/carts/{}/release", BECAUSE, ""),
    (GATEWAY, "GET", "/v1/carts/{}", b"", "ada"),
    (GATEWAY, "PUT", "/v1/carts/{}", b'{"lines": []}', "ada"),
    (GATEWAY, "PUT", "/v1/carts/c-1/lines/{}", b'{"quantity": 1}', "ada"),
    (GATEWAY, "DELETE", "/v1/carts/c-1/lines/{}", b"", "ada"),
    (GATEWAY, "GET", "/v1/products?after={}", b"", "ada"),
    (INVENTORY, "GET", "/v1/stock?after={}", b"", ""),
    (ORCHESTRATOR, "GET", "/v1/sagas?state={}", b"", ""),
    (ORCHESTRATOR, "GET", "/v1/sagas?reason={}", b"", ""),
    (ORCHESTRATOR, "GET", "/v1/sagas?stalled={}", b"", ""),
    (ORCHESTRATOR, "GET", "/v1/sagas?order={}", b"", ""),
    *(
        (service, "GET", path, b"", "")
        for service in SERVICES
        for path in (
            "/v1/dead-letters/{}/0/0",
            "/v1/dead-letters/t/{}/0",
            "/v1/dead-letters/t/0/{}",
            "/v1/dead-letters?topic={}",
            "/v1/dead-letters?reason={}",
            "/v1/dead-letters?after={}",
        )
    ),
]


@pytest.mark.parametrize(("service", "method", "path", "body", "token"), NAMES)
def test_what_is_no_name_is_refused(
    ask: Ask, service: str, method: str, path: str, body: bytes, token: str
) -> None:
    for odd in NEVER_A_NAME:
        ask(service, method, path.format(odd), body, token)


LISTS = [
    (ORCHESTRATOR, "/v1/sagas", ""),
    (PAYMENT, "/v1/payments", ""),
    (INVENTORY, "/v1/stock", ""),
    (GATEWAY, "/v1/products", "ada"),
    *((service, "/v1/dead-letters", "") for service in SERVICES),
]


@pytest.mark.parametrize(("service", "path", "token"), LISTS)
def test_a_page_refuses_odd_sizes_unknown_parameters_and_one_that_stands_there_twice(
    ask: Ask, service: str, path: str, token: str
) -> None:
    for odd in NEVER_A_NUMBER:
        ask(service, "GET", f"{path}?limit={odd}", token=token)
    for query in ("nonsense=1", "limit=1&limit=1", "limit=1&limit=2", "Limit=1", "%00=1"):
        ask(service, "GET", f"{path}?{query}", token=token)
    if service == ORCHESTRATOR and "sagas" in path:
        for odd in set(NEVER_A_NUMBER) - {"0"}:
            ask(service, "GET", f"{path}?older_than_s={odd}", token=token)


CART_OF_ADA: Any = {"cart_id": "c-1", "user_id": "ada"}
SAGA_OF_ADA: Any = {"saga_id": NOBODYS, "user_id": "ada"}
RESOLVED: Any = {"outcome": "charged", "reason": "odd"}
PRICED: Any = {"sku": "pen", "price_minor": 1, "currency": "GBP"}
STARTED: Any = {"cart_id": "c-1", "payment_method": "pm_card_visa"}
BODIES: list[tuple[str, str, str, str, Callable[[Any], list[Any]]]] = [
    (
        CART,
        "POST",
        SNAPSHOTS,
        GATEWAY,
        lambda v: [{"carts": v}, *({"carts": [c]} for c in _each(CART_OF_ADA, v))],
    ),
    (
        ORCHESTRATOR,
        "POST",
        SAGAS,
        GATEWAY,
        lambda v: [{"sagas": v}, *({"sagas": [s]} for s in _each(SAGA_OF_ADA, v))],
    ),
    (ORCHESTRATOR, "POST", CANCEL, GATEWAY, lambda v: _each(SAGA_OF_ADA, v)),
    (ORCHESTRATOR, "POST", f"/v1/sagas/{NOBODYS}/cancel", "", lambda v: [v, {"reason": v}]),
    (ORCHESTRATOR, "POST", f"/v1/sagas/{NOBODYS}/resume", "", lambda v: [v, {"reason": v}]),
    (
        PAYMENT,
        "POST",
        f"/v1/payments/{NOBODYS}/resolve",
        "",
        lambda v: _each(RESOLVED | {"charge_id": "ch"}, v),
    ),
    (
        INVENTORY,
        "PUT",
        "/v1/stock",
        "",
        lambda v: [{"stock": v}, *({"stock": [row]} for row in _each({"sku": "pen", "on_hand": 5}, v))],
    ),
    (
        CART,
        "PUT",
        "/v1/products",
        "",
        lambda v: [{"products": v}, *({"products": [p]} for p in _each(PRICED, v))],
    ),
    (CART, "POST", "/v1/carts/c-odd/hold", "", lambda v: [v, {"reason": v}]),
    (CART, "POST", "/v1/carts/c-odd/release", "", lambda v: [v, {"reason": v}]),
    (
        GATEWAY,
        "PUT",
        "/v1/carts/c-odd",
        "ada",
        lambda v: [{"lines": [w]} for w in _each({"sku": "pen", "quantity": 1}, v)],
    ),
    (GATEWAY, "PUT", "/v1/carts/c-odd/lines/pen", "ada", lambda v: [{"quantity": v}]),
    (GATEWAY, "POST", "/v1/checkouts", "ada", lambda v: _each(STARTED, v)),
    *(
        (
            service,
            "POST",
            f"/v1/dead-letters/{verb}",
            "",
            lambda v: [{"reason": v, "filter": {}}, {"reason": "odd", "places": [v]}],
        )
        for service in SERVICES
        for verb in ("redrive", "discard")
    ),
]


def _each(sound: dict[str, Any], value: Any) -> list[Any]:
    """This body once for each of its fields, with the value in the place of the field's own."""
    return [{**sound, name: value} for name in sound]


@pytest.mark.parametrize(("service", "method", "path", "token", "bodies"), BODIES)
def test_odd_values_and_odd_bodies_are_refused(
    ask: Ask, service: str, method: str, path: str, token: str, bodies: Callable[[Any], list[Any]]
) -> None:
    for value in ODD_VALUES:
        for body in bodies(value):
            ask(service, method, path, json.dumps(body).encode(), token)
    for raw in ODD_BODIES:
        ask(service, method, path, raw, token)
    lone = json.dumps(bodies("LONE")[-1]).encode().replace(b"LONE", rb"\ud800")
    ask(service, method, path, lone, token)
