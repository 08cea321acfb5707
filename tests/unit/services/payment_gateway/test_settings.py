"""payment-gateway's settings: a claim outlives the call that it is for."""

import pytest

from holdfast.runtime.settings import load
from holdfast.services.payment_gateway.charging import LEASE_MS
from holdfast.services.payment_gateway.settings import PaymentSettings


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DSN", "BUS_DSN", "JWKS", "PROVIDER_URL", "PROVIDER_KEY_FILE"):
        monkeypatch.setenv(f"HOLDFAST_{name}", "x")
    monkeypatch.setenv("HOLDFAST_HTTP_PORT", "8080")


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
