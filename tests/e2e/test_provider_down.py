"""The payment provider is away: no service's readiness changes, charges wait, and go on by themselves."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest
from tests.e2e.conftest import running
from tests.e2e.shopper import Shopper
from tests.eventually import eventually

from holdfast import audit
from holdfast.contracts.topics import PAYMENT, SERVICES
from holdfast.local.platform import Platform
from holdfast.local.process_table import PROVIDER


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    with running(tmp_path_factory.mktemp("platform"), "postgres") as platform:
        yield platform


@contextmanager
def provider_away(platform: Platform) -> Iterator[None]:
    platform.kill(PROVIDER, signal.SIGSTOP)
    try:
        yield
    finally:
        platform.kill(PROVIDER, signal.SIGCONT)


def is_ready(platform: Platform, name: str) -> bool:
    try:
        url = f"{platform.info.services[name].ops_url}/readyz"
        return httpx2.get(url, trust_env=False, timeout=30).status_code == 200
    except httpx2.HTTPError:
        return False


def unready(platform: Platform) -> list[str]:
    return [name for name in SERVICES if not is_ready(platform, name)]


@pytest.mark.timeout(600)
def test_charges_wait_for_a_provider_that_is_away(platform: Platform) -> None:
    shopper = Shopper(platform.info)
    with provider_away(platform):
        sagas = [shopper.buy({"pen": 1}) for _ in range(5)]
        await_charging(shopper, sagas)
        assert unready(platform) == []
    assert {shopper.end_of(saga_id)["state"] for saga_id in sagas} == {"COMPLETED"}
    assert_books_balance(platform)


@pytest.mark.timeout(600)
def test_payment_gateway_starts_without_its_provider(platform: Platform) -> None:
    """What it had asked for before it died, and what comes after, is charged once the provider is back."""
    shopper = Shopper(platform.info)
    with provider_away(platform):
        sagas = [shopper.buy({"pen": 1}) for _ in range(3)]
        await_charging(shopper, sagas)
        before = platform.kill(PAYMENT)
        eventually(lambda: platform.info.services[PAYMENT].pid != before, "it is started again", 60)
        eventually(lambda: is_ready(platform, PAYMENT), "it is ready without its provider", 120)
        sagas += [shopper.buy({"pen": 1}) for _ in range(3)]
        await_charging(shopper, sagas)
        assert unready(platform) == []
    assert {shopper.end_of(saga_id)["state"] for saga_id in sagas} == {"COMPLETED"}
    assert_books_balance(platform)


def await_charging(shopper: Shopper, sagas: list[str]) -> None:
    waiting = {"PAYMENT_PROCESSING_PENDING"}
    eventually(lambda: {shopper.look(saga_id)["state"] for saga_id in sagas} == waiting, "charges wait", 120)


def assert_books_balance(platform: Platform) -> None:
    report = audit.run(Path(platform.info.data), 90)
    assert report.exit_code == 0, (report.quiet, [str(violation) for violation in report.violations])
