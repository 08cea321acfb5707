"""A server that goes in the middle of answering a commit: half an answer is none, and waits have an end."""

import socket
import struct
from collections.abc import Iterator
from contextlib import closing, contextmanager
from threading import Event, Thread

import psycopg
import pytest

from holdfast.messaging.database_session import Connection, breaks_session, commit, is_trouble

WAIT_S = 30


def packet(kind: bytes, content: bytes) -> bytes:
    return kind + struct.pack("!i", len(content) + 4) + content


WELCOME = packet(b"R", struct.pack("!i", 0)) + packet(b"Z", b"I")
BEGUN = packet(b"C", b"BEGIN\0") + packet(b"Z", b"T")
HALF = packet(b"C", b"SET\0")
"""The answer to the first of the two statements that a commit is sent with."""


@contextmanager
def half_answered(*, closes: bool) -> Iterator[Connection]:
    """Open a transaction on a server of our own that answers a commit by half, then goes or is silent."""
    done = Event()
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:

        def serve() -> None:
            session, _ = listener.accept()
            with session:
                for answer in (WELCOME, BEGUN, HALF):
                    session.recv(65536)
                    session.sendall(answer)
                done.wait(0 if closes else WAIT_S)

        server = Thread(target=serve, daemon=True)
        server.start()
        port = listener.getsockname()[1]
        connection = psycopg.connect(
            f"host=127.0.0.1 port={port} user=u dbname=d sslmode=disable gssencmode=disable",
            connect_timeout=WAIT_S,
        )
        connection.pgconn.exec_(b"begin")
        try:
            yield connection
        finally:
            done.set()
            connection.close()
            server.join(WAIT_S)


def test_a_server_that_dies_after_half_an_answer_is_trouble() -> None:
    with half_answered(closes=True) as connection:
        with pytest.raises(psycopg.Error) as caught:
            commit(connection)
        assert is_trouble(caught.value)
        assert breaks_session(caught.value)


def test_the_other_half_is_not_waited_for_without_end() -> None:
    with half_answered(closes=False) as connection, pytest.raises(psycopg.OperationalError, match="in time"):
        commit(connection, 0.2)
