"""The payment provider is away: nobody's readiness changes, charges wait, and go on without hands."""

import signal
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from tests.e2e.conftest import running
from tests.e2e.shopper import Shopper
from tests.eventually import eventually

from holdfast import audit
from holdfast.contracts.topics import SERVICES
from holdfast.local.platform import Platform
from holdfast.local.table import PROVIDER


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[Platform]:
    with running(tmp_path, "postgres") as platform:
        yield platform


def unready(platform: Platform) -> list[str]:
    urls = {name: f"{platform.info.services[name].url}/readyz" for name in SERVICES}
    return [name for name, url in urls.items() if httpx2.get(url, trust_env=False).status_code != 200]


@pytest.mark.timeout(600)
def test_charges_wait_for_a_provider_that_is_away(platform: Platform) -> None:
    shopper = Shopper(platform.info)
    platform.kill(PROVIDER, signal.SIGSTOP)
    try:
        sagas = [shopper.buy({"pen": 1}) for _ in range(5)]
        waiting = {"PAYMENT_PROCESSING_PENDING"}
        eventually(
            lambda: {shopper.look(saga_id)["state"] for saga_id in sagas} == waiting, "charges wait", 120
        )
        assert unready(platform) == []
    finally:
        platform.kill(PROVIDER, signal.SIGCONT)
    assert {shopper.end_of(saga_id)["state"] for saga_id in sagas} == {"COMPLETED"}
    report = audit.run(Path(platform.info.data), 90)
    assert report.exit_code == 0, (report.quiet, [str(violation) for violation in report.violations])
