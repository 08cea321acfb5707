"""Every bound of the HTTP server is a setting, with the server's own safe default, and is documented."""

from dataclasses import fields
from pathlib import Path

import pytest

from holdfast.http_server.limits import LOOPBACK, Limits, client_of
from holdfast.runtime.http_settings import OPS_CONNECTIONS_MAX, HttpSettings

PAGE = Path(__file__).parents[3] / "docs/reference/limits.md"
NOT_A_SETTING = {"stop_s"}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOLDFAST_HTTP_PORT", "8080")


def settings() -> HttpSettings:
    return HttpSettings()  # type: ignore[call-arg]  # the environment supplies the port


def test_the_defaults_are_the_servers_own() -> None:
    assert settings().limits() == Limits()
    assert settings().ops_limits().connections_max == OPS_CONNECTIONS_MAX


@pytest.mark.parametrize("name", sorted({field.name for field in fields(Limits)} - NOT_A_SETTING))
def test_each_bound_is_set_by_its_variable_and_explained(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    variable = f"HOLDFAST_HTTP_{name.upper()}"
    value = "10.1.0.0/16, 10.2.0.1" if name == "proxies" else "2048"
    monkeypatch.setenv(variable, value)
    changed = settings().limits()
    assert getattr(changed, name) != getattr(Limits(), name)
    assert f"`{variable}`" in PAGE.read_text("utf-8")


@pytest.mark.parametrize(
    ("host", "client"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
    ],
)
def test_a_client_is_an_address_or_what_one_client_has_of_them(host: str, client: str) -> None:
    assert client_of(host) == client


def test_named_networks_are_proxies() -> None:
    limits = Limits(proxies=LOOPBACK)
    assert [
        limits.is_proxy(host)
        for host in ("127.3.2.1", "::1", "::ffff:127.0.0.1", "", "10.0.0.1", "2001:db8::1")
    ] == [
        True,
        True,
        True,
        True,
        False,
        False,
    ]
