"""The same scripts on PostgreSQL and on Kafka: what memory says happens, and every fate of every message."""

from collections.abc import Iterator

import pytest
from scripts.record_histories import histories
from tests.kafka import LIBS
from tests.platforms.comparable import comparable
from tests.platforms.delivery_faults import DeliveryFault
from tests.platforms.many_checkouts import EACH_KIND_ONCE, EVERY, deliver_late, run_many
from tests.platforms.memory import memory_platform
from tests.platforms.one_process import OneProcess
from tests.platforms.postgres import postgres_platform
from tests.platforms.scenarios import SCENARIOS, Scenario, play

from holdfast.contracts.topics import ORCHESTRATOR, PAYLOADS
from holdfast.local.kafka import LocalKafka
from holdfast.local.postgres import EmbeddedPostgres
from holdfast.sagas.checkout import VERSIONS
from holdfast.sagas.histories import differences
from holdfast.simulation.run import quiet_logs

KAFKA_START_S = 240.0


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
    kafka = LocalKafka(folder / "kafka", libs=LIBS)
    kafka.start(KAFKA_START_S)
    try:
        with postgres_platform(postgres, folder, kafka.bootstrap) as platform:
            yield platform
    finally:
        kafka.stop()


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_a_script_has_the_history_that_it_has_in_memory(platform: OneProcess, scenario: Scenario) -> None:
    with quiet_logs():
        simulated = memory_platform()
        expected = comparable(simulated, play(simulated, scenario))
        assert comparable(platform, play(platform, scenario)) == expected


@pytest.mark.parametrize("fate", DeliveryFault)
def test_one_message_of_every_kind_that_is_lost_repeated_or_late(
    platform: OneProcess, fate: DeliveryFault
) -> None:
    """On PostgreSQL on every way to go; on Kafka, where all takes longer, each kind on one way."""
    cases = run_many(platform, fate, EVERY if platform.wiring.name == "postgres" else EACH_KIND_ONCE)
    assert {case.kind for case in cases} == set(PAYLOADS)
    late = deliver_late(platform, cases)
    assert late >= (len(cases) if fate is DeliveryFault.HELD else 0)


def test_what_happened_replays_to_what_was_sent(platform: OneProcess) -> None:
    """The histories of this platform lead today's rules to the messages that were really published."""
    play(platform, SCENARIOS[0])
    published: dict[str, set[tuple[str, str, str]]] = {}
    for message in platform.wiring.bus.log:
        headers = dict(message.headers)
        if headers["ce_source"] == ORCHESTRATOR.encode():
            sent = (headers["ce_id"].decode(), headers["ce_type"].decode(), (message.value or b"").decode())
            published.setdefault(message.key.decode(), set()).add(sent)
    replayed = list(histories(platform.wiring.dsns[ORCHESTRATOR]))
    assert {buying.saga_id for buying in platform.bought} == {history.saga_id for history in replayed}
    for history in replayed:
        assert differences(history, VERSIONS) == []
        decided = {(m.message_id, m.kind, m.value) for event in history.events for m in event.sent}
        unasked = published[history.saga_id] - decided
        assert decided <= published[history.saga_id]
        # A question is answered with every undo, also of steps that were never asked; an early one is ours.
        assert all(kind.startswith("Compensate") for _, kind, _ in unasked)
