"""payment-gateway's settings: a claim outlives the call that it is for."""

from pathlib import Path

import pytest

from holdfast.runtime.settings import load
from holdfast.services.payment_gateway.charging import LEASE_MS
from holdfast.services.payment_gateway.settings import PaymentSettings


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("sk_test_1\n")
    needed = {
        "DSN": "postgresql://a",
        "BUS_DSN": "postgresql://b",
        "JWKS": "keys",
        "HTTP_PORT": "8080",
        "PROVIDER_URL": "http://127.0.0.1:9",
        "PROVIDER_KEY_FILE": str(key),
    }
    for name, value in needed.items():
        monkeypatch.setenv(f"HOLDFAST_{name}", value)


def test_a_claim_lasts_as_long_as_told(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load(PaymentSettings).claim_lease_ms == LEASE_MS
    monkeypatch.setenv("HOLDFAST_CLAIM_LEASE_MS", "10001")
    assert load(PaymentSettings).claim_lease_ms == 10_001


def test_a_claim_that_ends_before_its_call_stops_the_start(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOLDFAST_CLAIM_LEASE_MS", "10000")
    with pytest.raises(SystemExit):
        load(PaymentSettings)
    assert capsys.readouterr().err.startswith("configuration error: HOLDFAST_CLAIM_LEASE_MS: ")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PROVIDER_URL", "foo"),
        ("PROVIDER_URL", "http://"),
        ("PROVIDER_KEY_FILE", "/nowhere/key"),
        ("PROVIDER_KEY_FILE", "/dev/null"),
        ("PROVIDER_WEBHOOK_SECRET_FILE", "/dev/null"),
    ],
)
def test_a_provider_that_cannot_be_called_or_believed_stops_the_start(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, value: str
) -> None:
    """Anybody could sign for an empty secret."""
    monkeypatch.setenv(f"HOLDFAST_{name}", value)
    with pytest.raises(SystemExit) as ended:
        load(PaymentSettings)
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith(f"configuration error: HOLDFAST_{name}: ")
