"""A real Kafka with TLS, SCRAM and access rules: who may not is refused by the broker itself."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka.admin import (
    AdminClient,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)
from tests.certificate import make_certificate
from tests.eventually import eventually
from tests.kafka import LIBS
from typer.testing import CliRunner

from holdfast.bus.access import AccessTable
from holdfast.bus.kafka.acls import apply, rules
from holdfast.bus.kafka.bus import KafkaBus
from holdfast.bus.kafka.settings import KafkaSettings
from holdfast.bus.port import BusForbidden, BusUnavailable, Message, PublishFailed, Record, TopicPartition
from holdfast.cli.main import app
from holdfast.contracts.topics import (
    EVENTS,
    INVENTORY,
    ORCHESTRATOR,
    ORDER_COMMANDS,
    PAYMENT,
    PAYMENT_COMMANDS,
    SERVICES,
    all_topics,
    dead_letters,
)
from holdfast.local import processes
from holdfast.local.kafka import LocalKafka
from holdfast.runtime.principals import kafka_access
from holdfast.runtime.settings import KafkaAccessSettings

ADMIN = "administrator"
PARTITIONS = 2
GUARDED = {
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "allow.everyone.if.no.acl.found": "false",
    "super.users": f"User:ANONYMOUS;User:{ADMIN}",  # nobody: the broker itself, on a listener of its own
    "listener.security.protocol.map": "BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT,CLIENTS:SASL_SSL",
    "listener.name.clients.sasl.enabled.mechanisms": "SCRAM-SHA-512",
    "listener.name.clients.scram-sha-512.sasl.jaas.config": (
        "org.apache.kafka.common.security.scram.ScramLoginModule required;"
    ),
    "listener.name.clients.ssl.keystore.type": "PEM",
}


class Guarded:
    """A broker whose clients' listener takes TLS and passwords; a service's is `secret-of-` its name."""

    def __init__(self, kafka: LocalKafka, folder: Path) -> None:
        server, self.ca = make_certificate(folder)
        (broker,) = kafka._brokers
        (port,) = processes.free_ports(1)
        self.address = f"{processes.HOST}:{port}"
        controller = f"CONTROLLER://{processes.HOST}:{broker.controller_port}"
        kafka._settings |= GUARDED | {
            "listeners": f"BROKER://{broker.address},{controller},CLIENTS://{self.address}",
            "advertised.listeners": f"BROKER://{broker.address},CLIENTS://{self.address}",
            "listener.name.clients.ssl.keystore.location": str(server),
        }
        self._folder = folder
        self._kafka = kafka

    def add_users(self) -> None:
        admin = AdminClient({"bootstrap.servers": self._kafka.bootstrap})
        credential = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
        futures = admin.alter_user_scram_credentials(
            [
                UserScramCredentialUpsertion(name, credential, f"secret-of-{name}".encode())
                for name in (ADMIN, *SERVICES)
            ]
        )
        for future in futures.values():
            future.result()

    def environment(self, user: str, password: str | None = None) -> dict[str, str]:
        """Return what a process of this user is told."""
        file = self._folder / f"{user}.password"
        file.write_text((password or f"secret-of-{user}") + "\n")
        return {
            "HOLDFAST_KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
            "HOLDFAST_KAFKA_USERNAME": user,
            "HOLDFAST_KAFKA_PASSWORD_FILE": str(file),
            "HOLDFAST_KAFKA_CA_FILE": str(self.ca),
        }

    def settings(self, user: str, password: str | None = None, ca: Path | None = None) -> KafkaSettings:
        told = self.environment(user, password)
        login = KafkaAccessSettings(
            kafka_security_protocol="SASL_SSL",
            kafka_username=user,
            kafka_password_file=Path(told["HOLDFAST_KAFKA_PASSWORD_FILE"]),
            kafka_ca_file=ca or self.ca,
        )
        return KafkaSettings(
            self.address,
            delivery_timeout_ms=5_000,
            lookup_timeout_s=5.0,
            session_timeout_ms=2_000,
            options=login.kafka_options(),
        )

    def bus(self, user: str) -> KafkaBus:
        return KafkaBus(self.settings(user))

    def publish(self, service: str, topic: str) -> None:
        publisher = self.bus(service).publisher()
        publisher.publish([Message(topic, b"key", b"value")])
        publisher.close()


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    folder = tmp_path_factory.mktemp("guarded")
    kafka = LocalKafka(folder / "kafka", libs=LIBS)
    guarded = Guarded(kafka, folder)
    kafka.start(240.0)
    try:
        guarded.add_users()
        KafkaBus(guarded.settings(ADMIN)).create_topics(all_topics(), PARTITIONS)
        admin = guarded.settings(ADMIN)
        apply(admin, kafka_access())
        eventually(lambda: apply(admin, kafka_access()) == (0, 0), "the broker has heard of the rules")
        yield guarded
    finally:
        kafka.stop()


@pytest.mark.parametrize(
    ("service", "topic"),
    [
        (PAYMENT, EVENTS),
        (PAYMENT, dead_letters(PAYMENT_COMMANDS)),
        (ORCHESTRATOR, PAYMENT_COMMANDS),
        (ORCHESTRATOR, dead_letters(EVENTS)),
    ],
)
def test_a_writer_is_let_through(guarded: Guarded, service: str, topic: str) -> None:
    guarded.publish(service, topic)


@pytest.mark.parametrize(
    ("service", "topic"),
    [(PAYMENT, ORDER_COMMANDS), (INVENTORY, PAYMENT_COMMANDS), (PAYMENT, dead_letters(ORDER_COMMANDS))],
)
def test_who_is_no_writer_is_refused_by_the_broker(guarded: Guarded, service: str, topic: str) -> None:
    before = _ends(guarded, topic)
    with pytest.raises(PublishFailed, match="TOPIC_AUTHORIZATION_FAILED"):
        guarded.publish(service, topic)
    assert _ends(guarded, topic) == before


def test_a_topic_that_takes_nothing_is_told_from_those_that_do(guarded: Guarded) -> None:
    taken, refused = PAYMENT_COMMANDS, dead_letters(ORDER_COMMANDS)
    before = _ends(guarded, taken)
    publisher = guarded.bus(ORCHESTRATOR).publisher()
    batch = [Message(topic, b"key", b"value") for topic in (taken, refused, taken, refused, taken)]
    with pytest.raises(PublishFailed) as failed:
        publisher.publish(batch)
    publisher.close()
    assert failed.value.missing == {1, 3}
    assert failed.value.is_partial(len(batch))
    assert sum(_ends(guarded, taken)) == sum(before) + 3


def test_a_reader_reads_in_its_own_group(guarded: Guarded) -> None:
    guarded.publish(ORCHESTRATOR, PAYMENT_COMMANDS)
    consumer = guarded.bus(PAYMENT).consumer(PAYMENT, [PAYMENT_COMMANDS])
    records: list[Record] = []

    def read() -> bool:
        records.extend(consumer.poll(10, 0.5))
        return bool(records)

    eventually(read, "the record comes", 60)
    consumer.commit({record.place: record.offset + 1 for record in records})
    assert records[0].source == ORCHESTRATOR, "its topic has one writer"
    consumer.close()


@pytest.mark.parametrize(
    ("group", "topic", "refusal"),
    [(INVENTORY, PAYMENT_COMMANDS, "TOPIC_AUTH"), (PAYMENT, PAYMENT_COMMANDS, "GROUP_AUTH")],
    ids=["another's topic", "another's group"],
)
def test_what_is_anothers_is_not_read(guarded: Guarded, group: str, topic: str, refusal: str) -> None:
    consumer = guarded.bus(INVENTORY).consumer(group, [topic])
    said: list[str] = []

    def refused() -> bool:
        try:
            assert consumer.poll(10, 0.5) == []
        except BusUnavailable as error:
            said.append(str(error))
        return any(refusal in text for text in said)

    eventually(refused, "the broker refuses", 60)
    consumer.close()


def test_a_service_starts_on_topics_that_are_there_and_can_make_none(guarded: Guarded) -> None:
    bus = guarded.bus(PAYMENT)
    bus.create_topics(all_topics(), PARTITIONS)
    with pytest.raises(BusForbidden, match="AUTHORIZATION_FAILED"):
        bus.create_topics(["checkout.another"], PARTITIONS)


def test_a_wrong_password_is_said(guarded: Guarded) -> None:
    bus = KafkaBus(guarded.settings(PAYMENT, "guess"))
    with pytest.raises(BusForbidden, match="AUTHENTICATION"):
        bus.create_topics(all_topics(), PARTITIONS)


def test_a_broker_that_nobody_vouches_for_gets_no_password(guarded: Guarded, tmp_path: Path) -> None:
    _, other = make_certificate(tmp_path)
    bus = KafkaBus(guarded.settings(PAYMENT, ca=other))
    with pytest.raises(BusUnavailable):
        bus.create_topics(all_topics(), PARTITIONS)


def test_the_command_applies_the_rules_and_takes_away_what_is_too_much(
    guarded: Guarded, monkeypatch: pytest.MonkeyPatch
) -> None:
    everything, admin = kafka_access(), guarded.settings(ADMIN)
    more = everything.writers[0]._replace(principal=PAYMENT, topic=ORDER_COMMANDS)
    too_much = AccessTable((*everything.writers, more), everything.readers)
    assert apply(admin, too_much) == (1, 0)
    eventually(lambda: apply(admin, too_much) == (0, 0), "the broker has heard of the rule")
    for name, value in guarded.environment(ADMIN).items():
        monkeypatch.setenv(name, value)
    command = ["bus", "acls", "--apply", "--bootstrap", guarded.address, "--partitions", str(PARTITIONS)]
    result = CliRunner().invoke(app, command)
    assert (result.exit_code, "0 rules were added, 1 taken away" in result.stderr) == (0, True)


def test_the_command_prints_every_rule() -> None:
    result = CliRunner().invoke(app, ["bus", "acls"])
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert len(lines) == len(rules(kafka_access()))
    start = "--add --allow-principal User:"
    assert f"{start}{PAYMENT} --operation Read --group {PAYMENT}" in lines
    assert f"{start}{ORCHESTRATOR} --operation Write --topic {PAYMENT_COMMANDS}" in lines
    assert f"{start}{PAYMENT} --operation Write --topic {ORDER_COMMANDS}" not in lines


def _ends(guarded: Guarded, topic: str) -> list[int]:
    publisher = guarded.bus(ORCHESTRATOR).publisher()
    return [publisher.end_offset(TopicPartition(topic, number)) for number in range(PARTITIONS)]
