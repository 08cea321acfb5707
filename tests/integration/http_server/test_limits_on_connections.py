"""Who may hold a connection and for how long: the silent and slow give way, those who are served do not."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
from tests.eventually import eventually
from tests.integration.http_server.server_thread import BIG, LIMITS, Served, answer, rest, serving

GET = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"
HOLD = b"GET /hold HTTP/1.1\r\nHost: x\r\n\r\n"
BIG_GET = b"GET /big HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST /%s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"


def addresses(count: int) -> list[str]:
    return [f"127.0.1.{number}" for number in range(1, count + 1)]


@contextmanager
def crowd(served: Served, first: bytes = b"") -> Iterator[list[socket.socket]]:
    """As many connections as there is room for, from as many addresses as that takes, that say only this."""
    clients = LIMITS.connections_max // LIMITS.connections_per_client_max
    with ExitStack() as stack:
        made = [
            stack.enter_context(served.connect(source))
            for source in addresses(clients)
            for _ in range(LIMITS.connections_per_client_max)
        ]
        for each in made:
            each.sendall(first)
        eventually(lambda: served.table.open == LIMITS.connections_max, "the table is full")
        yield made


@pytest.mark.parametrize("first", [b"", b"GE", GET[:-2], POST % (b"echo", 9) + b"half"])
def test_the_silent_and_the_slow_give_way_to_new_clients(first: bytes) -> None:
    with serving() as served, crowd(served, first) as made:
        if b"half" in first:
            eventually(lambda: len(served.app.called) == len(made), "all have begun")
        for n in range(30):
            assert served.ask(GET[:-2] + b"Connection: close\r\n\r\n", f"127.0.2.{n + 1}").endswith(b"/a")
        assert served.table.open <= LIMITS.connections_max
        told = rest(made[0])
        assert told == b"" or told.startswith(b"HTTP/1.1 503 ")
        assert served.table.refused["gave_way"] >= 1


def test_of_those_that_wait_the_one_that_waited_longest_gives_way() -> None:
    with serving() as served, crowd(served) as made:
        made[0].sendall(GET)
        assert answer(made[0]).endswith(b"/a"), "the first is now the one that waited shortest"
        with served.connect("127.0.2.1") as new:
            new.sendall(GET)
            assert answer(new).endswith(b"/a")
            assert rest(made[1]) == b""
            made[0].sendall(GET)
            assert answer(made[0]).endswith(b"/a")


def test_who_is_owed_an_answer_keeps_its_place_and_a_new_client_is_told_to_come_back() -> None:
    with serving() as served, crowd(served, HOLD) as made:
        eventually(lambda: len(served.app.called) == len(made), "all are worked on")
        refused = served.ask(GET, "127.0.2.1")
        assert refused.startswith(b"HTTP/1.1 503 ")
        assert b"retry-after: 2" in refused
        assert b'"code":"overloaded"' in refused
        served.app.may_answer.set()
        assert [answer(each).endswith(b"/hold") for each in made] == [True] * len(made)


def test_one_client_has_so_many_connections_and_only_its_own_give_way() -> None:
    with serving() as served, ExitStack() as stack:
        other = stack.enter_context(served.connect("127.0.2.1"))
        eventually(lambda: served.table.open == 1, "it is there")
        greedy = [stack.enter_context(served.connect("127.0.1.1")) for _ in range(20)]
        assert rest(greedy[0]) == b""
        eventually(
            lambda: served.table.open == 1 + LIMITS.connections_per_client_max, "five of its twenty stay"
        )
        other.sendall(GET)
        assert answer(other).endswith(b"/a")


def test_a_client_whose_connections_are_all_worked_on_gets_no_more() -> None:
    with serving() as served, ExitStack() as stack:
        for _ in range(LIMITS.connections_per_client_max):
            stack.enter_context(served.connect("127.0.1.1")).sendall(HOLD)
        eventually(lambda: len(served.app.called) == LIMITS.connections_per_client_max, "all are worked on")
        assert served.ask(GET, "127.0.1.1").startswith(b"HTTP/1.1 503 ")
        with served.connect("127.0.1.2") as other:
            other.sendall(GET)
            assert answer(other).endswith(b"/a")


@pytest.mark.parametrize(
    ("limit", "first", "status"),
    [
        ("first_byte_s", b"", b""),
        ("head_s", b"GET /a HTT", b"HTTP/1.1 408 "),
        ("head_s", b"\r\n", b"HTTP/1.1 408 "),
        ("body_s", POST % (b"echo", 9) + b"half", b"HTTP/1.1 408 "),
        ("keep_alive_s", GET, b"HTTP/1.1 200 "),
    ],
)
def test_each_wait_for_a_client_ends(limit: str, first: bytes, status: bytes) -> None:
    with serving(**{limit: 0.2}) as served:
        assert served.ask(first).startswith(status)
        eventually(lambda: served.table.open == 0, "its place is free")


def test_a_head_that_comes_byte_by_byte_has_the_same_time_as_any_other() -> None:
    with serving(head_s=0.2) as served, served.connect() as client:
        client.sendall(b"GET /")
        with pytest.raises(OSError):  # noqa: PT012  every byte may be the one that is not taken
            while True:
                client.sendall(b"a")
                client.settimeout(0.02)
                try:
                    if client.recv(100) == b"":
                        raise ConnectionResetError
                except TimeoutError:
                    continue
        assert served.table.refused["request_timeout"] == 1


@pytest.mark.parametrize("path", [b"refuse", b"hold"])
def test_an_answer_before_the_bodys_end_closes_and_a_bounded_rest_is_read(path: bytes) -> None:
    """The client gets its answer, and then an end, however much it goes on sending."""
    with serving(body_bytes_max=10**9) as served, served.connect() as client:
        served.app.may_answer.set()
        client.sendall(POST % (path, 10**9))
        received = b""
        while b"\r\n\r\n/" not in received:
            received += client.recv(65_536)
        assert b"connection: close" in received
        sent = 0
        with pytest.raises(OSError):  # noqa: PT012  which of the pieces is refused is the network's affair
            while sent < 100_000_000:
                sent += client.send(b"x" * 65_536)
        assert rest(client) == b""
        eventually(lambda: served.table.open == 0, "its place is free")


def test_a_client_that_sends_the_rest_of_its_body_gets_its_answer_and_the_end() -> None:
    with serving() as served, served.connect() as client:
        client.sendall(POST % (b"refuse", 50_000))
        eventually(lambda: served.app.called == ["/refuse"], "it is refused")
        client.sendall(b"x" * 50_000)
        assert rest(client).startswith(b"HTTP/1.1 401 ")


@pytest.mark.parametrize("requests", [1, 10])
def test_a_client_that_never_reads_its_answer_is_given_up(requests: int) -> None:
    with serving(answer_s=0.3) as served, served.connect() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        client.sendall(BIG_GET * requests)
        eventually(lambda: served.table.refused["answer_not_read"] == 1, "it is given up")
        eventually(lambda: served.table.open == 0, "its place is free")
        assert len(served.app.called) <= 2, "no more was begun for it"


def test_a_client_that_never_reads_gives_way_to_new_ones() -> None:
    with serving() as served, crowd(served, BIG_GET):
        eventually(lambda: served.table.waiting == LIMITS.connections_max, "none of them reads")
        assert served.ask(GET[:-2] + b"Connection: close\r\n\r\n", "127.0.2.1").endswith(b"/a")


def test_a_slow_reader_gets_all_of_its_answer() -> None:
    with serving(linger_s=0.1) as served, served.connect() as client:
        client.sendall(BIG_GET[:-2] + b"Connection: close\r\n\r\n")
        eventually(lambda: served.table.waiting == 1, "it is waited for")
        assert len(rest(client)) > BIG


def test_a_stop_answers_what_is_under_way_and_what_is_just_coming() -> None:
    with serving() as served:
        held, idle, silent = served.connect(), served.connect(), served.connect()
        with held, idle, silent:
            held.sendall(HOLD)
            idle.sendall(GET)
            answer(idle)
            eventually(lambda: "/hold" in served.app.called, "it is worked on")
            served.server.should_exit = True
            eventually(lambda: served.table.is_leaving, "it stops")
            idle.sendall(GET)
            assert b"connection: close" in rest(idle)
            assert rest(silent) == b""
            served.app.may_answer.set()
            last = rest(held)
    assert last.startswith(b"HTTP/1.1 200 OK")
    assert b"connection: close" in last
