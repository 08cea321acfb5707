"""The provider fails one brand of cards on a running platform: all others pay as if nothing were wrong."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e.conftest import running
from tests.e2e.load import query
from tests.e2e.shopper import Shopper
from tests.e2e.test_payments import Provider, metric
from tests.eventually import eventually

from holdfast import audit
from holdfast.contracts.topics import PAYMENT
from holdfast.local.platform import Platform
from holdfast.messaging.breaker import STATES

BRAND = "pm_card_mastercard"
GOOD = 20
WITHIN_S = 120.0


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    with running(tmp_path_factory.mktemp("platform"), "postgres") as platform:
        yield platform


@pytest.fixture
def provider(platform: Platform) -> Iterator[Provider]:
    provider = Provider(platform)
    with provider.client:
        yield provider
        provider.rules()


@pytest.mark.timeout(600)
@pytest.mark.parametrize("trouble", [{"do": "error_heals"}, {"do": "timeout_before", "ms": 60_000}], ids=str)
@pytest.mark.parametrize("failing", [8, 60])
def test_a_brand_that_fails_delays_no_other(
    platform: Platform, shopper: Shopper, provider: Provider, failing: int, trouble: dict[str, object]
) -> None:
    provider.rules({"operation": "charge", "payment_method": BRAND, **trouble})
    before = charged(platform)
    unlucky = [shopper.buy({"pen": 1}, BRAND) for _ in range(failing)]
    eventually(lambda: len(submitted(platform, unlucky)) >= 8, "the provider has been asked", WITHIN_S)
    lucky = [shopper.buy({"pen": 1}) for _ in range(GOOD)]
    ended = [shopper.end_of(saga_id, asks_max=3)["state"] for saga_id in lucky]
    assert ended == ["COMPLETED"] * GOOD
    assert charged(platform) - before == GOOD, "each was charged by one call"
    assert attempts(platform, lucky) == []
    waiting = {shopper.look(saga_id)["state"] for saga_id in unlucky}
    assert waiting == {"PAYMENT_PROCESSING_PENDING"}, "those that fail are waited for, and nobody behind them"
    provider.rules()
    assert {shopper.end_of(saga_id, asks_max=12)["state"] for saga_id in unlucky} == {"COMPLETED"}


def test_the_breakers_of_charges_refunds_and_look_ups_are_told_apart(platform: Platform) -> None:
    for name in ("payment-provider", "payment-provider-refunds", "payment-provider-look-ups"):
        states = [metric(platform, f'breaker_state{{breaker="{name}",state="{s}"}}') for s in STATES]
        assert sum(states) == 1, name


def test_and_the_books_balance(platform: Platform) -> None:
    report = audit.run(Path(platform.info.data), WITHIN_S)
    assert report.exit_code == 0, (report.quiet, [str(violation) for violation in report.violations])


def charged(platform: Platform) -> float:
    return metric(platform, 'payment_calls_total{ask="charge",outcome="succeeded"}')


def submitted(platform: Platform, sagas: list[str]) -> list[int]:
    return [count for count in attempts(platform, sagas) if count]


def attempts(platform: Platform, sagas: list[str]) -> list[int]:
    """Return how often the provider was asked for those of these payments that are open."""
    rows = query(platform, "select saga_id::text, fired from timers where kind = 'resolve'", PAYMENT)
    return [int(str(fired)) for saga_id, fired in rows if saga_id in sagas]
