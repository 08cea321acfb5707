"""What the wire counter reads in PostgreSQL's protocol, however the bytes are cut."""

import pytest
from benchmarks.wire_counter import Session, WireCounts


def client(kind: bytes, body: bytes = b"") -> bytes:
    return kind + (len(body) + 4).to_bytes(4) + body


def start(role: str = "cart", database: str = "carts") -> bytes:
    body = (196608).to_bytes(4) + f"user\0{role}\0database\0{database}\0\0".encode()
    return (len(body) + 4).to_bytes(4) + body


READY, IN_TRANSACTION, FAILED = (client(b"Z", status) for status in (b"I", b"T", b"E"))
EXECUTE = client(b"B", b"\0name\0rest") + client(b"E", b"\0\0\0\0\0") + client(b"S")
PARSE = client(b"P", b"name\0-- Returns all.\nselect 1\0\0\0")


def done(tag: str) -> bytes:
    return client(b"C", tag.encode() + b"\0")


class Talk:
    """One session, already logged in; `cut` is how many bytes come at a time."""

    def __init__(self, cut: int = 1 << 20) -> None:
        self.counts = WireCounts()
        self.session = Session(self.counts)
        self._cut = cut
        self.session.client_says((8).to_bytes(4) + (80877103).to_bytes(4))
        self.session.server_says(b"N")
        self.session.client_says(start())
        self.session.server_says(client(b"R", b"\0\0\0\x0a"))
        self.session.client_says(client(b"p", b"secret"))
        self.session.server_says(client(b"R", b"\0\0\0\0") + READY)
        assert self.counts.commits.pop("cart") == self.counts.databases.pop("carts") == 1

    def exchange(self, asked: bytes, answered: bytes) -> None:
        for hear, data in ((self.session.client_says, asked), (self.session.server_says, answered)):
            for at in range(0, len(data), self._cut):
                hear(data[at : at + self._cut])


@pytest.mark.parametrize("cut", [1, 3, 1000])
def test_a_transaction_is_one_commit_and_as_many_round_trips_as_it_was_asked_in(cut: int) -> None:
    talk = Talk(cut)
    talk.exchange(client(b"Q", b"BEGIN\0"), done("BEGIN") + IN_TRANSACTION)
    talk.exchange(PARSE + EXECUTE, client(b"1") + client(b"2") + done("SELECT 1") + IN_TRANSACTION)
    talk.exchange(EXECUTE, client(b"2") + done("SELECT 1") + IN_TRANSACTION)
    talk.exchange(client(b"Q", b"set x = 0; commit\0"), done("SET") + done("COMMIT") + READY)
    assert talk.counts.commits == {"cart": 1}
    assert talk.counts.databases == {"carts": 1}
    assert talk.counts.round_trips == {"cart": 4}
    assert talk.counts.statements == {
        ("cart", "BEGIN"): 1,
        ("cart", "-- Returns all."): 2,
        ("cart", "set x = 0; commit"): 1,
    }


def test_a_pipeline_is_one_round_trip() -> None:
    talk = Talk()
    asked = client(b"Q", b"BEGIN\0") + PARSE + EXECUTE + EXECUTE + client(b"Q", b"COMMIT\0")
    answered = done("BEGIN") + IN_TRANSACTION + done("SELECT 1") + IN_TRANSACTION + done("COMMIT") + READY
    talk.exchange(asked, answered)
    assert talk.counts.round_trips == {"cart": 1}
    assert talk.counts.commits == {"cart": 1}


def test_a_statement_alone_is_a_transaction_unless_it_fails() -> None:
    talk = Talk()
    talk.exchange(client(b"Q", b"select 1\0"), done("SELECT 1") + READY)
    talk.exchange(client(b"Q", b"select 1/0\0"), client(b"E", b"...") + READY)
    talk.exchange(client(b"S"), READY)
    assert talk.counts.commits == {"cart": 1}


def test_what_is_rolled_back_is_no_commit() -> None:
    talk = Talk()
    talk.exchange(client(b"Q", b"BEGIN\0"), done("BEGIN") + IN_TRANSACTION)
    talk.exchange(client(b"Q", b"select 1/0\0"), client(b"E", b"...") + FAILED)
    talk.exchange(client(b"Q", b"COMMIT\0"), done("ROLLBACK") + READY)
    assert talk.counts.commits == {}


def test_notifications_that_nobody_asked_for_are_no_round_trip() -> None:
    talk = Talk()
    talk.session.server_says(client(b"A", b"\0\0\0\1news\0\0"))
    assert talk.counts.round_trips == {}


def test_counts_since_an_earlier_moment() -> None:
    talk = Talk()
    talk.exchange(client(b"Q", b"select 1\0"), done("SELECT 1") + READY)
    before = talk.counts.copy()
    talk.exchange(client(b"Q", b"select 1\0"), done("SELECT 1") + READY)
    assert talk.counts.since(before) == WireCounts(
        round_trips=before.round_trips,
        commits=before.commits,
        statements=before.statements,
        databases=before.databases,
    )
