"""Three brokers, of which some go, in every way they can, under load: what was acknowledged stays."""

import json
from collections.abc import Callable, Iterator

import pytest
from confluent_kafka.admin import AdminClient
from tests.e2e.traffic import Stage, Traffic
from tests.eventually import eventually
from tests.kafka import LIBS

from holdfast.bus.kafka.bus import KafkaBus
from holdfast.bus.kafka.settings import KafkaSettings
from holdfast.bus.port import BusUnavailable, Message, PublishFailed
from holdfast.contracts.topics import EVENTS, GATEWAY, ORCHESTRATOR, ORDER
from holdfast.local import provision
from holdfast.local.kafka import LocalKafka
from holdfast.local.postgres import EmbeddedPostgres

BROKERS = (1, 2, 3)
PROBES = "probes"
QUICKLY = {
    "broker.session.timeout.ms": "4000",  # of a broker that is gone; its partitions then get other leaders
    "broker.heartbeat.interval.ms": "500",
}


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalKafka]:
    """A cluster that the tests may break; each leaves it whole."""
    with LocalKafka(tmp_path_factory.mktemp("kafka"), 3, libs=LIBS, settings=QUICKLY) as kafka:
        yield kafka


@pytest.fixture(scope="module")
def stage(kafka: LocalKafka, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    server = EmbeddedPostgres(
        tmp_path_factory.mktemp("server") / "cluster", settings={"shared_buffers": "64MB"}
    )
    with server:
        provision.create_databases(server)
        with Stage(tmp_path_factory.mktemp("platform"), server.dsn, kafka.bootstrap) as stage:
            stage.open_shop()
            KafkaBus(KafkaSettings(kafka.bootstrap)).create_topics([PROBES], 1)
            yield stage


def leader(kafka: LocalKafka) -> int:
    """Return the broker that leads the first partition of the events."""
    found = AdminClient({"bootstrap.servers": kafka.bootstrap}).list_topics(EVENTS, timeout=30)
    return int(found.topics[EVENTS].partitions[0].leader)


def controller(kafka: LocalKafka) -> int:
    """Return the controller of the cluster, once the first broker knows of one."""
    state = kafka.data_dir / "broker-1" / "log" / "__cluster_metadata-0" / "quorum-state"
    found = [-1]

    def known() -> bool:
        found.append(int(json.loads(state.read_text())["leaderId"]))
        return found[-1] > 0

    eventually(known, "a controller is elected")
    return found[-1]


def is_acknowledged(kafka: LocalKafka) -> bool:
    """Say whether a message gets its two copies now."""
    bus = KafkaBus(KafkaSettings(kafka.bootstrap, delivery_timeout_ms=3_000, lookup_timeout_s=3.0))
    try:
        bus.publisher().publish([Message(PROBES, b"key", b"value")])
    except (PublishFailed, BusUnavailable):
        return False
    finally:
        bus.close()
    return True


def dead_leader(stage: Stage, kafka: LocalKafka, traffic: Traffic) -> None:
    broker = leader(kafka)
    kafka.kill(broker)
    traffic.await_ends()  # two are enough
    kafka.restart(broker)


def dead_controller(stage: Stage, kafka: LocalKafka, traffic: Traffic) -> None:
    broker = controller(kafka)
    kafka.kill(broker)
    traffic.await_ends()
    kafka.restart(broker)


def frozen_leader(stage: Stage, kafka: LocalKafka, traffic: Traffic) -> None:
    """It keeps its connections and answers nothing."""
    broker = leader(kafka)
    kafka.pause(broker)
    try:
        eventually(lambda: leader(kafka) != broker, "another one leads", 180)
        traffic.await_ends()
    finally:
        kafka.resume(broker)


def two_dead(stage: Stage, kafka: LocalKafka, traffic: Traffic) -> None:
    """No message gets two copies, so none is acknowledged; what was accepted lies in the outboxes."""
    for broker in (2, 3):
        kafka.kill(broker)
    eventually(lambda: not is_acknowledged(kafka), "nothing is acknowledged", 180)
    traffic.await_refusal()
    assert not is_acknowledged(kafka)
    assert outboxes(stage) > 0, "outboxes keep what cannot leave"
    eventually(lambda: stage.statuses("/readyz")[GATEWAY] == 503, "the gateway is not ready", 180)
    kafka.restart(2, 3)


def all_dead(stage: Stage, kafka: LocalKafka, traffic: Traffic) -> None:
    for broker in BROKERS:
        kafka.kill(broker)
    stage.await_all("/readyz", 503, "none is ready without Kafka", 180)
    traffic.await_refusal()
    kafka.restart(*BROKERS)


def rolling_restart(stage: Stage, kafka: LocalKafka, traffic: Traffic) -> None:
    for broker in BROKERS:
        kafka.restart(broker)
        traffic.await_ends()


def outboxes(stage: Stage) -> int:
    lying = [stage.query(service, "select count(*) from outbox") for service in (GATEWAY, ORCHESTRATOR)]
    return sum(int(rows[0][0]) for rows in lying)


SHORT = [dead_leader, two_dead]
LONG = [dead_controller, frozen_leader, all_dead, rolling_restart]


@pytest.mark.timeout(1200)
@pytest.mark.parametrize(
    "fault",
    [*SHORT, *(pytest.param(fault, marks=pytest.mark.long) for fault in LONG)],
    ids=[fault.__name__ for fault in (*SHORT, *LONG)],
)
def test_nothing_acknowledged_is_lost(
    stage: Stage, kafka: LocalKafka, fault: Callable[[Stage, LocalKafka, Traffic], None]
) -> None:
    restarts = stage.restarts()
    with Traffic(stage) as traffic:
        traffic.await_under_way()
        fault(stage, kafka, traffic)
        stage.await_all("/readyz", 200, "all are ready again", 180)
        traffic.await_ends()
    assert traffic.dead == set(), "livez stayed green"
    stage.assert_sound(traffic.accepted)
    assert stage.restarts() == restarts, "no process ended"


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_a_service_that_starts_without_kafka_waits_for_it(stage: Stage, kafka: LocalKafka) -> None:
    for broker in BROKERS:
        kafka.kill(broker)
    before = stage.restarts()
    stage.platform.kill(ORDER)
    eventually(lambda: stage.restarts() == before + 1, "it is started again")
    eventually(lambda: stage.statuses("/livez")[ORDER] == 200, "it lives", 180)
    assert stage.statuses("/readyz")[ORDER] == 503
    kafka.restart(*BROKERS)
    stage.await_all("/readyz", 200, "all are ready")
    with Traffic(stage) as traffic:
        traffic.await_under_way()
        traffic.await_ends()
    stage.assert_sound(traffic.accepted)
    assert stage.restarts() == before + 1
