"""HOLDFAST_CRASH_AT: a place that there is, or no start, and the variable is named."""

import pytest

from holdfast.messaging import crashpoints
from holdfast.runtime.settings import ServiceSettings, load


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crashpoints, "_visitor", None)
    for name in ("DSN", "BUS_DSN", "JWKS"):
        monkeypatch.setenv(f"HOLDFAST_{name}", "host=x")
    monkeypatch.setenv("HOLDFAST_HTTP_PORT", "8080")


@pytest.mark.parametrize(
    ("value", "armed"),
    [("", []), ("publish.after", [("publish.after", 1)]), ("publish.after:7", [("publish.after", 7)])],
)
def test_a_place_is_armed(monkeypatch: pytest.MonkeyPatch, value: str, armed: list[tuple[str, int]]) -> None:
    told: list[tuple[str, int]] = []
    monkeypatch.setattr(crashpoints, "arm", lambda name, visit: told.append((name, visit)))
    monkeypatch.setenv("HOLDFAST_CRASH_AT", value)
    load(ServiceSettings)
    assert told == armed


@pytest.mark.parametrize("value", ["no.such", "publish.after:x", "publish.after:0", "publish.after:-1"])
def test_what_cannot_be_reached_stops_the_start(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], value: str
) -> None:
    monkeypatch.setenv("HOLDFAST_CRASH_AT", value)
    with pytest.raises(SystemExit) as ended:
        load(ServiceSettings)
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("configuration error: HOLDFAST_CRASH_AT: ")
    assert crashpoints._visitor is None
