"""Strangers without a token at a running platform's ports: whatever they send, shoppers are served."""

import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import httpx2
import pytest
from tests.e2e.conftest import running
from tests.e2e.shopper import Shopper
from tests.eventually import eventually

from holdfast.contracts.topics import GATEWAY, PAYMENT, SERVICES
from holdfast.local.platform import Platform
from holdfast.local.process_table import PROVIDER

CONNECTIONS_MAX = 80


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    folder = tmp_path_factory.mktemp("platform")
    with running(folder, "postgres", HOLDFAST_HTTP_CONNECTIONS_MAX=str(CONNECTIONS_MAX)) as platform:
        yield platform


def connect(port: int, source: str = "127.0.0.1") -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=30, source_address=(source, 0))


def ask(port: int, request: bytes) -> tuple[int, dict[str, str], Any]:
    """Send this and return the answer, after which the server must close the connection."""
    received = b""
    with connect(port) as client:
        client.sendall(request)
        while piece := client.recv(65_536):
            received += piece
    head, _, body = received.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines)
    return int(first.split()[1]), headers, json.loads(body)


def metric(platform: Platform, line: str) -> float:
    text = httpx2.get(f"{platform.info.services[GATEWAY].ops_url}/metrics", trust_env=False, timeout=30).text
    found = [each for each in text.splitlines() if each.startswith(f"{line} ")]
    return float(found[0].split()[-1]) if found else 0.0


def test_silent_connections_keep_no_client_out(platform: Platform) -> None:
    port = platform.info.services[GATEWAY].port
    shopper = Shopper(platform.info)
    with ExitStack() as stack:
        for n in range(3 * CONNECTIONS_MAX):
            silent = stack.enter_context(connect(port, f"127.0.{n % 7}.{1 + n % 200}"))
            silent.sendall((b"", b"GET /v1", b"GET / HTTP/1.1\r\nHost: x\r\n")[n % 3])
        full = 'http_server_connections{listener="http"}'
        eventually(lambda: metric(platform, full) >= CONNECTIONS_MAX - 1, "there is no room left")
        assert shopper.end_of(shopper.buy({"pen": 1}))["state"] == "COMPLETED"
        for name in SERVICES:
            live = httpx2.get(f"{platform.info.services[name].ops_url}/livez", trust_env=False, timeout=30)
            assert live.status_code == 200
        assert metric(platform, full) <= CONNECTIONS_MAX
        assert metric(platform, 'http_server_refused_total{listener="http",reason="gave_way"}') > 0


@pytest.mark.parametrize("name", [GATEWAY, PAYMENT, PROVIDER])
def test_what_has_no_end_is_refused_at_every_port_that_strangers_reach(platform: Platform, name: str) -> None:
    port = platform.info.services[name].port
    status, headers, said = ask(port, b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 100_000)
    assert (status, said["code"], headers["connection"]) == (431, "headers_too_large", "close")
    assert headers["content-type"] == "application/problem+json"
    assert ask(port, b"GET /" + b"a" * 100_000)[0] == 414


@pytest.mark.parametrize(("length", "status"), [(1_000, 401), (2_000_000, 413)])
def test_a_body_that_nobody_wants_is_not_waited_for(platform: Platform, length: int, status: int) -> None:
    head = b"POST /v1/checkouts HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % length
    answer, headers, _ = ask(platform.info.services[GATEWAY].port, head)
    assert (answer, headers["connection"]) == (status, "close")


def test_two_keys_are_no_key(platform: Platform) -> None:
    shopper = Shopper(platform.info)
    headers = [*shopper.client.headers.items(), ("Idempotency-Key", "one"), ("Idempotency-Key", "two")]
    body = {"cart_id": "cart", "payment_method": "pm_card_visa"}
    answer = shopper.client.post("/v1/checkouts", json=body, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (400, "malformed_request")
    assert "idempotency-key" in answer.json()["detail"]


def test_strangers_reach_nothing_of_the_operators(platform: Platform) -> None:
    paths = ("livez", "readyz", "health", "metrics", "v1/dead-letters", "v1/payments", "v1/stock", "v1/sagas")
    for name in SERVICES:
        url = platform.info.services[name].url
        found = {path: httpx2.get(f"{url}/{path}", trust_env=False).status_code for path in paths}
        assert set(found.values()) == {404}, (name, found)
