"""A server that goes in the middle of answering a commit: half an answer is none, and waits have an end."""

import socket
import struct
from collections.abc import Iterator
from contextlib import closing, contextmanager
from threading import Event, Thread

import psycopg
import pytest

from holdfast.messaging.database_session import breaks_session, is_trouble
from holdfast.messaging.pipeline import Pipeline

WAIT_S = 30


def packet(kind: bytes, content: bytes) -> bytes:
    return kind + struct.pack("!i", len(content) + 4) + content


WELCOME = packet(b"R", struct.pack("!i", 0)) + packet(b"Z", b"I")


def done(tag: bytes) -> bytes:
    """Answer a statement that is prepared and executed, and returns no rows."""
    return packet(b"1", b"") + packet(b"2", b"") + packet(b"n", b"") + packet(b"C", tag + b"\0")


HALF = done(b"BEGIN") + done(b"INSERT 0 1") + done(b"SET")
"""The answers to all but the last of the statements that are sent with a commit."""


@contextmanager
def half_answered(*, closes: bool) -> Iterator[Pipeline]:
    """Write on a server of our own that answers a commit by half, then goes or is silent."""
    over = Event()
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:

        def serve() -> None:
            session, _ = listener.accept()
            with session:
                for answer in (WELCOME, HALF):
                    session.recv(65536)
                    session.sendall(answer)
                over.wait(0 if closes else WAIT_S)

        server = Thread(target=serve, daemon=True)
        server.start()
        port = listener.getsockname()[1]
        connection = psycopg.connect(
            f"host=127.0.0.1 port={port} user=u dbname=d sslmode=disable gssencmode=disable",
            connect_timeout=WAIT_S,
        )
        session = Pipeline(connection)
        session.begin()
        session.write("insert into leases values ('lost', 'me', now())", {})
        try:
            yield session
        finally:
            over.set()
            session.close()
            server.join(WAIT_S)


def test_a_server_that_dies_after_half_an_answer_is_trouble() -> None:
    with half_answered(closes=True) as session:
        with pytest.raises(psycopg.Error) as caught:
            session.commit()
        assert is_trouble(caught.value)
        assert breaks_session(caught.value)


def test_the_other_half_is_not_waited_for_without_end() -> None:
    with half_answered(closes=False) as session, pytest.raises(psycopg.OperationalError, match="in time"):
        session.commit(0.2)
