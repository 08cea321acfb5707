"""Every process is killed once with SIGKILL, in mid-load; the books balance and every checkout ends."""

from collections.abc import Iterator

import pytest
from tests.e2e.conftest import running
from tests.e2e.load import UNDER_WAY_MIN, Load, all_ends_well, restarts, under_way
from tests.eventually import eventually

from holdfast.local.platform import Platform
from holdfast.local.process_table import NAMES


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    with running(tmp_path_factory.mktemp("platform"), "postgres") as platform:
        yield platform


@pytest.mark.parametrize("name", NAMES)
def test_a_killed_process_loses_nothing(platform: Platform, name: str) -> None:
    load = Load(platform)
    try:
        eventually(lambda: under_way(platform) >= UNDER_WAY_MIN, "enough sagas are under way", 60)
        before = restarts(platform, name)
        platform.kill(name)
        eventually(lambda: restarts(platform, name) > before, f"{name} is started again", 30)
        platform.wait_ready(60)
    finally:
        load.stop()
    all_ends_well(platform, load.accepted)
