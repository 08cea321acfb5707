"""Poison at a real service on real PostgreSQL, with sound messages before and after it on one partition."""

import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic
from structlog.testing import capture_logs
from tests.eventually import eventually
from tests.open_bus import OpenBus
from tests.poisons import POISONS, sound
from tests.samples import saga_id

from holdfast.bus.kafka.bus import KafkaBus
from holdfast.bus.kafka.settings import KafkaSettings
from holdfast.bus.port import Bus, Record
from holdfast.contracts.topics import INVENTORY, INVENTORY_COMMANDS, all_topics, dead_letters
from holdfast.local.kafka import LocalKafka
from holdfast.local.postgres import EmbeddedPostgres
from holdfast.messaging.components import Components, Ports
from holdfast.messaging.dead_letters import Actor, DeadLetters
from holdfast.messaging.envelope import Envelope
from holdfast.messaging.parked import DeadLetterFilter, ParkedRecord
from holdfast.messaging.postgres_store import PostgresStore
from holdfast.messaging.redriver import NAME
from holdfast.messaging.topic_watch import TopicWatch
from holdfast.runtime.migrations import migrate
from holdfast.runtime.production_ports import monotonic_ms
from holdfast.services.inventory_write import main as inventory_write
from holdfast.services.inventory_write.store import PostgresInventoryTransaction


class Service:
    """inventory-write on a bus with one partition, driven by the test."""

    def __init__(self, dsn: str, bus: Bus) -> None:
        migrate(dsn, ["holdfast.messaging", "holdfast.services.inventory_write"], time.sleep)
        bus.create_topics(all_topics(), 1)
        self.bus = bus
        self.store: PostgresStore[PostgresInventoryTransaction] = PostgresStore(
            dsn, PostgresInventoryTransaction
        )
        self.parts: Components[Any] = inventory_write.build(Ports(self.store, bus, monotonic_ms, "test", 1))
        self.publisher = bus.publisher()

    def send(self, *messages: Any) -> None:
        self.publisher.publish(messages)

    def work(self, until: Callable[[], bool], what: str) -> None:
        """Step writer and relay until the condition holds."""

        def done() -> bool:
            self.parts.manager.run_once(0.1)
            self.parts.relay.run_once(0)
            return until()

        eventually(done, what, 60)

    def parked(self) -> list[ParkedRecord]:
        letters = DeadLetters(self.parts.processor, partial(self.parts.manager.hurry, NAME))
        found = (letters.show(row.place) for row in letters.find(DeadLetterFilter(), None, 100))
        return [row for row in found if row is not None]

    def handled(self, sagas: Sequence[str]) -> int:
        """Return how many of these sagas have a fence."""
        with self.store.transaction() as tx:
            fences = tx.lock_fences("inventory", sagas)
            tx.save_fences("inventory", [], sorted(set(sagas) - set(fences)))
        return len(fences)

    def letters(self, count: int) -> list[Record]:
        """Read the dead letters' topic."""
        consumer = self.bus.consumer(f"reader-{uuid4().hex}", [dead_letters(INVENTORY_COMMANDS)])
        found: list[Record] = []
        try:
            eventually(lambda: len(_more(found, consumer)) >= count, f"{count} dead letters", 60)
        finally:
            consumer.close()
        return found

    def close(self) -> None:
        self.parts.manager.close()
        self.parts.relay.producer.close()
        self.publisher.close()
        self.store.close()
        self.bus.close()


def _more(found: list[Record], consumer: Any) -> list[Record]:
    """Read on, past the letters of another test on the same broker."""
    records = consumer.poll(500, 0.2)
    found += [each for each in records if dict(each.headers)["x-error-type"] != b"handler_failed"]
    return found


@pytest.fixture(scope="module")
def own_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A broker for this module alone, since a service's topics have fixed names."""
    with LocalKafka(tmp_path_factory.mktemp("kafka")) as kafka:
        yield kafka.bootstrap


@pytest.fixture(params=["postgres", "kafka"])
def service(request: pytest.FixtureRequest, postgres: EmbeddedPostgres, database: str) -> Iterator[Service]:
    name = f"bus_{uuid4().hex[:12]}"
    postgres.ensure_database(name)
    if request.param == "kafka":
        service = Service(database, KafkaBus(KafkaSettings(request.getfixturevalue("own_kafka"))))
    else:
        service = Service(database, OpenBus(postgres.dsn(name)))
    yield service
    service.close()
    postgres.drop_database(name)


def test_undecodable_lines_are_parked_and_nothing_waits_behind_them(
    postgres: EmbeddedPostgres, database: str
) -> None:
    """A publisher that was taken over calls the bus's function itself, and lies about what it hands over."""
    name = f"bus_{uuid4().hex[:12]}"
    postgres.ensure_database(name)
    service = Service(database, OpenBus(postgres.dsn(name)))
    rows = [(1, b"{"), (1, b'{"k":1}\n'), (3, b""), (2, b"\xff\n{}\n{}"), (1000, b"x" * 2_000_000)]
    try:
        with psycopg.connect(postgres.dsn(name), autocommit=True) as taken_over:
            for n, (count, lines) in enumerate(rows):
                publish(taken_over, count, lines)
                service.send(sound(saga_id(2_000 + n)))
        good = [saga_id(2_000 + n) for n in range(len(rows))]
        service.work(lambda: service.handled(good) == len(good), "everything sound is handled")
        parked = service.parked()
        assert {row.reason for row in parked} == {"undecodable"}
        assert [row.record.value for row in parked[:5]] == [b"{", b'{"k":1}', None, b"\xff", b"{}\n{}"]
        assert service.parts.processor.refused["undecodable"] == len(parked) == 7
        service.work(service.parts.relay.is_idle, "the dead letters have left")
        letters = [dict(letter.headers) for letter in service.letters(len(parked))]
        assert {letter["x-error-type"] for letter in letters} == {b"undecodable"}
        assert [int(letter["x-original-offset"]) for letter in letters] == [r.place.offset for r in parked]
        manager = service.parts.manager
        service.work(lambda: not manager.run_once(0), "nothing is read twice")
    finally:
        service.close()
        postgres.drop_database(name)


@pytest.mark.parametrize(("count", "size"), [(0, 10), (-5, 10), (10**12, 10), (1, 17_000_000)])
def test_a_publisher_spends_no_offsets_and_writes_nothing_that_no_reader_has_room_for(
    postgres: EmbeddedPostgres, database: str, count: int, size: int
) -> None:
    bus = OpenBus(database)
    bus.create_topics([INVENTORY_COMMANDS], 1)
    bus.close()
    with (
        psycopg.connect(database, autocommit=True) as taken_over,
        pytest.raises(psycopg.errors.InvalidParameterValue),
    ):
        publish(taken_over, count, b"x" * size)


def publish(session: "psycopg.Connection[Any]", count: int, lines: bytes) -> None:
    session.execute(
        "select publish_batch(%s::text[], '{0}', %s::int8[], %s::bytea[], '{}')",
        [[INVENTORY_COMMANDS], [count], [lines]],
    )


def test_every_kind_is_parked_for_its_reason_between_neighbours_that_flow(service: Service) -> None:
    good = [saga_id(1_000 + n) for n in range(len(POISONS) + 1)]
    spoiled = [poison.spoil(sound(saga_id(n))) for n, poison in enumerate(POISONS)]
    service.send(sound(good[0]))
    for message, following in zip(spoiled, good[1:], strict=True):
        service.send(message)
        service.send(sound(following))
    service.work(lambda: service.handled(good) == len(good), "everything sound is handled")
    rows = service.parked()
    assert [row.reason for row in rows] == [poison.reason for poison in POISONS]
    assert [(row.record.value, row.record.headers) for row in rows] == [m[2:] for m in spoiled]
    assert [row.record.key or b"" for row in rows] == [message.key for message in spoiled]
    service.work(service.parts.relay.is_idle, "the dead letters have left")
    letters = service.letters(len(POISONS))
    assert [letter.value for letter in letters] == [message.value for message in spoiled]
    for letter, row in zip(letters, rows, strict=True):
        headers = dict(letter.headers)
        assert headers["x-error-type"] == row.reason.encode()
        assert headers["x-original-offset"] == str(row.place.offset).encode()
        assert headers["x-attempts"] == b"1"
        assert headers["x-first-at"] == headers["x-last-at"] == str(row.first_ms).encode()


def test_a_bug_is_parked_and_redriven_and_what_came_of_it_is_known(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    sagas = [saga_id(n) for n in range(40)]
    sick = set(sagas[5::9])
    handler = service.parts.processor._handler
    sound_handle = handler.handle

    def handle(tx: Any, envelopes: Sequence[Envelope]) -> Any:
        if sick & {envelope.saga_id for envelope in envelopes}:
            raise ZeroDivisionError("the handler's bug")
        return sound_handle(tx, envelopes)

    monkeypatch.setattr(handler, "handle", handle)
    service.send(*(sound(saga) for saga in sagas))
    with capture_logs():
        service.work(lambda: len(service.parked()) == len(sick), "the sick ones are parked")
        service.work(lambda: service.handled(sagas) == len(sagas) - len(sick), "all others are handled")
    rows = service.parked()
    assert {(row.saga_id, row.reason) for row in rows} == {(saga, "handler_failed") for saga in sick}
    assert all(row.attempts > 1 for row in rows)
    letters = DeadLetters(service.parts.processor, partial(service.parts.manager.hurry, NAME))
    assert service.parts.processor.service == INVENTORY
    monkeypatch.undo()
    acted = letters.redrive([row.place for row in rows], Actor("olga", "mended"))
    assert len(acted.done) == len(sick)
    service.work(lambda: service.handled(sagas) == len(sagas), "the redriven ones are handled")
    outcomes = [(row.status, row.outcome) for row in letters.find(DeadLetterFilter(), None, 100)]
    assert outcomes == [("redriven", "processed")] * len(sick)


def test_on_kafka_topics_that_grow_or_are_made_anew_lose_and_undo_nothing(
    own_kafka: str, database: str
) -> None:
    """The service runs all the while."""
    service = Service(database, KafkaBus(KafkaSettings(own_kafka)))
    watch = TopicWatch(service.bus, 1)
    service.parts.manager.periodic_tasks.append(watch.periodic_task())
    admin = AdminClient({"bootstrap.servers": own_kafka})
    before, grown, anew = ([saga_id(base + n) for n in range(20)] for base in (5_000, 5_100, 5_200))

    def handle(sagas: Sequence[str], what: str) -> None:
        service.work(lambda: service.handled(sagas) == len(sagas), what)

    try:
        service.send(*map(sound, before))
        handle(before, "what came before is handled")
        admin.create_partitions([NewPartitions(INVENTORY_COMMANDS, 3)])[INVENTORY_COMMANDS].result()
        service.work(lambda: watch.differing == {INVENTORY_COMMANDS: 3}, "the growth is noticed")
        service.send(*map(sound, grown))
        handle(grown, "what came on the grown topic is handled")
        assert service.parts.manager.counters.misplaced == 0

        admin.delete_topics([INVENTORY_COMMANDS])[INVENTORY_COMMANDS].result()
        service.work(lambda: watch.differing == {INVENTORY_COMMANDS: 0}, "the deletion is noticed")
        admin.create_topics([NewTopic(INVENTORY_COMMANDS, 1, 1)])[INVENTORY_COMMANDS].result()
        service.work(lambda: watch.made_anew == 1, "the new topic is noticed")
        service.publisher.publish([sound(saga) for saga in anew])
        handle(anew, "what came on the new topic is handled")
        assert service.parked() == []
    finally:
        service.close()
