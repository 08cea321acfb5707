"""Who may do what on the PostgreSQL bus: the server refuses the rest, whatever the client's code says."""

from collections.abc import Iterator

import psycopg
import pytest

from holdfast.bus.access import AccessTable
from holdfast.bus.port import BusForbidden, BusUnavailable, Message
from holdfast.bus.postgres import schema as postgres_schema
from holdfast.bus.postgres.bus import PostgresBus
from holdfast.contracts.topics import (
    EVENTS,
    INVENTORY,
    INVENTORY_COMMANDS,
    ORCHESTRATOR,
    ORDER,
    ORDER_COMMANDS,
    PAYMENT,
    PAYMENT_COMMANDS,
    SERVICES,
    all_topics,
    dead_letters,
)
from holdfast.local.postgres import EmbeddedPostgres
from holdfast.runtime.principals import postgres_access, role_of

INSERT = (
    b"insert into log (topic, partition, base_offset, end_offset, lines, source) "
    b"values ('checkout.payment-command', 0, 0, 1, 'x', 'checkout-orchestrator')"
)


class Site:
    """The bus of the checkout in a database of its own."""

    def __init__(self, server: EmbeddedPostgres, owner_dsn: str) -> None:
        self.owner_dsn = owner_dsn
        self._server = server
        self._buses: list[PostgresBus] = []
        server.ensure_roles([role_of(service) for service in SERVICES], ["ops", "auditor"])
        self.set_up(postgres_access())

    def set_up(self, access: AccessTable) -> None:
        postgres_schema.set_up(self.owner_dsn, all_topics(), 1, access)

    def dsn(self, role: str) -> str:
        name = str(psycopg.conninfo.conninfo_to_dict(self.owner_dsn)["dbname"])
        return self._server.dsn(name, role)

    def bus(self, service: str) -> PostgresBus:
        self._buses.append(PostgresBus(self.dsn(role_of(service))))
        return self._buses[-1]

    def publish(self, service: str, topic: str) -> None:
        publisher = self.bus(service).publisher()
        try:
            publisher.publish([Message(topic, b"k", b"v", (("ce_source", b"checkout-orchestrator"),))])
        finally:
            publisher.close()

    def close(self) -> None:
        for bus in self._buses:
            bus.close()


@pytest.fixture
def site(postgres: EmbeddedPostgres, database: str) -> Iterator[Site]:
    site = Site(postgres, database)
    yield site
    site.close()


def test_a_record_says_who_published_it_whatever_its_headers_say(site: Site) -> None:
    site.publish(ORDER, EVENTS)
    site.publish(PAYMENT, EVENTS)
    consumer = site.bus(ORCHESTRATOR).consumer(ORCHESTRATOR, [EVENTS])
    records = consumer.poll(10, 0.0)
    consumer.close()
    assert [record.source for record in records] == [ORDER, PAYMENT]
    assert {dict(record.headers)["ce_source"] for record in records} == {b"checkout-orchestrator"}


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_publishes_what_the_table_says_and_nothing_else(site: Site, service: str) -> None:
    allowed, refused = set(), dict[str, str]()
    for topic in all_topics():
        try:
            site.publish(service, topic)
        except BusForbidden as refusal:
            refused[topic] = str(refusal)
        else:
            allowed.add(topic)
    assert all(f"role {role_of(service)} may not write {topic}" in text for topic, text in refused.items())
    assert allowed == {each.topic for each in postgres_access().writers if each.service == service}


def test_a_batch_with_one_topic_of_anothers_leaves_no_trace(site: Site) -> None:
    publisher = site.bus(PAYMENT).publisher()
    with pytest.raises(BusForbidden):
        publisher.publish([Message(EVENTS, b"k", b"v"), Message(ORDER_COMMANDS, b"k", b"v")])
    publisher.close()
    with psycopg.connect(site.owner_dsn) as connection:
        assert connection.execute("select count(*) from log").fetchone() == (0,)


def test_a_participant_writes_its_dead_letters_and_no_command_to_itself(site: Site) -> None:
    site.publish(PAYMENT, dead_letters(PAYMENT_COMMANDS))
    with pytest.raises(BusForbidden):
        site.publish(PAYMENT, PAYMENT_COMMANDS)


@pytest.mark.parametrize(
    ("group", "topic"),
    [(INVENTORY, PAYMENT_COMMANDS), (PAYMENT, PAYMENT_COMMANDS), (INVENTORY, dead_letters(EVENTS))],
    ids=["another's topic", "another's group", "dead letters"],
)
def test_what_is_anothers_is_not_read(site: Site, group: str, topic: str) -> None:
    site.publish(ORCHESTRATOR, PAYMENT_COMMANDS)
    consumer = site.bus(INVENTORY).consumer(group, [topic])
    with pytest.raises(BusForbidden, match="inventory_write"):
        consumer.poll(10, 0.0)
    fetch = "select * from fetch_log(%s, %s, array[0], array[0]::int8[], 10, 1000)"
    refused = pytest.raises(psycopg.errors.InsufficientPrivilege)
    with psycopg.connect(site.dsn("inventory_write")) as connection, refused:
        connection.execute(fetch, [group, [topic]])


@pytest.mark.parametrize("role", ["payment_gateway", "ops", "auditor"])
@pytest.mark.parametrize(
    "statement",
    [
        INSERT,
        b"update log set source = 'checkout-orchestrator'",
        b"delete from log",
        b"update leases set committed = 0",
        b"insert into writers values ('payment_gateway', 'checkout.order-command', 'checkout-orchestrator')",
        b"insert into readers values ('payment_gateway', 'checkout.order-command', 'order-create')",
        b"create table planted (topic text)",
        b"create function format(text) returns text language sql as $$ select '' $$",
        b"set session authorization checkout_orchestrator",
        b"set role checkout_orchestrator",
    ],
)
def test_nobody_but_the_owner_changes_the_books_of_the_bus(site: Site, role: str, statement: bytes) -> None:
    if role != "payment_gateway":
        with psycopg.connect(site.owner_dsn, autocommit=True) as owner:
            name = owner.info.dbname
            owner.execute(f'grant connect on database "{name}" to {role}'.encode())
    refused = pytest.raises(psycopg.errors.InsufficientPrivilege)
    with psycopg.connect(site.dsn(role), autocommit=True) as connection, refused:
        connection.execute(statement)


def test_a_table_of_ones_own_with_the_name_of_the_rights_gives_none(site: Site) -> None:
    """The functions look at the owner's tables, also where a session has temporary ones before them."""
    with psycopg.connect(site.owner_dsn, autocommit=True) as owner:
        owner.execute(f'grant temporary on database "{owner.info.dbname}" to payment_gateway'.encode())
    with psycopg.connect(site.dsn("payment_gateway"), autocommit=True) as connection:
        connection.execute("create temporary table writers (role text, topic text, source text)")
        connection.execute(
            "insert into writers values ('payment_gateway', 'checkout.order-command', 'order-create')"
        )
        connection.execute("set search_path = pg_temp, public")
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="may not write"):
            connection.execute(
                "select public.publish_batch(array['checkout.order-command'], array[0], array[1]::int8[], "
                r"array['\x00']::bytea[], '{}')"
            )


def test_the_messages_themselves_are_read_through_the_functions_alone(site: Site) -> None:
    with psycopg.connect(site.dsn("inventory_write"), autocommit=True) as connection:
        for table in ("log", "messages", "leases", "members", "writers", "operator_actions"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(f"select * from {table}".encode())


def test_a_service_prunes_nothing_that_somebody_has_yet_to_read(site: Site) -> None:
    """It may name topics that are kept for people; naming one that a service reads deletes nothing."""
    site.publish(ORCHESTRATOR, PAYMENT_COMMANDS)
    site.publish(PAYMENT, dead_letters(PAYMENT_COMMANDS))
    kept = [PAYMENT_COMMANDS, dead_letters(PAYMENT_COMMANDS)]
    with psycopg.connect(site.dsn("inventory_write"), autocommit=True) as connection:
        assert connection.execute("select prune_log(0, 0, %s, 0, 100)", [kept]).fetchone() == (1,)
    with psycopg.connect(site.owner_dsn) as owner:
        assert owner.execute("select topic from log").fetchall() == [(PAYMENT_COMMANDS,)]


def test_a_role_without_rights_is_refused_the_superuser_too(site: Site) -> None:
    publisher = PostgresBus(site.owner_dsn).publisher()
    with pytest.raises(BusForbidden, match="role postgres may not write"):
        publisher.publish([Message(EVENTS, b"k", b"v")])
    publisher.close()


def test_a_right_that_is_taken_away_is_gone_for_open_sessions_too(site: Site) -> None:
    publisher = site.bus(PAYMENT).publisher()
    publisher.publish([Message(EVENTS, b"k", b"v")])
    everything = postgres_access()
    site.set_up(AccessTable(tuple(w for w in everything.writers if w.service != PAYMENT), everything.readers))
    with pytest.raises(BusForbidden):
        publisher.publish([Message(EVENTS, b"k", b"v")])
    publisher.close()


def test_a_service_finds_its_topics_and_cannot_make_one(site: Site) -> None:
    bus = site.bus(INVENTORY)
    bus.create_topics(all_topics(), 1)
    with pytest.raises(BusForbidden, match="holdfast bus setup"):
        bus.create_topics(["checkout.another"], 1)


def test_a_bus_that_nobody_set_up_is_waited_for(postgres: EmbeddedPostgres, database: str) -> None:
    postgres.ensure_roles(["inventory_write"])
    name = str(psycopg.conninfo.conninfo_to_dict(database)["dbname"])
    bus = PostgresBus(postgres.dsn(name, "inventory_write"))
    with pytest.raises(BusUnavailable, match="CONNECT privilege"):
        bus.create_topics([INVENTORY_COMMANDS], 1)
