"""Every kind of message lost, doubled, held back until after the end: on PostgreSQL, and on Kafka."""

from collections.abc import Iterator

import pytest
from tests.kafka import LIBS
from tests.platforms.crowd import crowd, deliver_late
from tests.platforms.fates import Fate
from tests.platforms.one_process import OneProcess
from tests.platforms.postgres import postgres_platform

from holdfast.local.kafka import LocalKafka
from holdfast.local.postgres import EmbeddedPostgres


@pytest.fixture(scope="module", params=["postgres", "kafka"])
def platform(
    request: pytest.FixtureRequest, postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[OneProcess]:
    """On Kafka with a broker of its own, since the topics' names are the contracts'."""
    folder = tmp_path_factory.mktemp("platform")
    if request.param == "postgres":
        with postgres_platform(postgres, folder) as platform:
            yield platform
        return
    with (
        LocalKafka(folder / "kafka", libs=LIBS) as kafka,
        postgres_platform(postgres, folder, kafka.bootstrap) as platform,
    ):
        yield platform


@pytest.mark.parametrize("fate", Fate)
def test_one_message_of_every_kind_meets_its_fate(platform: OneProcess, fate: Fate) -> None:
    cases = crowd(platform, fate)
    late = deliver_late(platform, cases)
    assert late >= (len(cases) if fate is Fate.HELD else 1)
