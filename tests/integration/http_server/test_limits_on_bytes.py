"""What one client may send before the application is called, and what is kept of one that sends more."""

import json
from collections.abc import Iterator

import pytest
from tests.integration.http_server.server_thread import LIMITS, Served, WatchedProtocol, rest, serving

from holdfast.http_server import refusals
from holdfast.http_server.guarded_protocol import PIECE
from holdfast.runtime import problems

HOST = b"Host: x\r\n"
POST = b"POST /echo HTTP/1.1\r\n" + HOST
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
GET_LAST = b"GET /last HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n"
ENDLESS = 4_000_000


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with serving(connections_per_client_max=1_000) as made:
        yield made


def problem(answer: bytes) -> tuple[int, str]:
    """Return status and code of the one answer, which must be a problem that closes the connection."""
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"content-type: application/problem+json" in head, answer
    assert b"connection: close" in head
    document = json.loads(body)
    assert document["type"] == f"urn:holdfast:problem:{document['code']}"
    assert head.startswith(b"HTTP/1.1 %d " % document["status"])
    return document["status"], document["code"]


@pytest.mark.parametrize(
    ("begin", "more", "status"),
    [
        (b"GET /", b"a", 414),
        (b"GET          ", b" ", 431),
        (b"", b"\r\n", 431),
        (b"GET /last HTTP/1.1\r\nA: ", b"a", 431),
        (b"GET /last HTTP/1.1\r\n", b"A: b\r\n", 431),
        (b"GET /last HTTP/1.1\r\nA", b"a", 431),
        (CHUNKED + b"1;a=", b"a", 431),
        (CHUNKED, b"1;" + b"a" * 100 + b"\r\na\r\n", 413),
        (CHUNKED + b"1\r\na\r\n0\r\nA: ", b"a", 431),
        (CHUNKED + b"1\r\na\r\n0\r\n", b"A: b\r\n", 431),
        (CHUNKED, b"100\r\n" + b"a" * 256 + b"\r\n", 413),
    ],
)
def test_what_has_no_end_is_refused_and_little_of_it_is_kept(
    served: Served, begin: bytes, more: bytes, status: int
) -> None:
    """The parser was given its bound and one piece at most; what comes later is thrown away unread."""
    WatchedProtocol.unclaimed_most = 0
    with served.connect() as client:
        client.sendall(begin)
        try:
            for _ in range(0, ENDLESS, PIECE):
                client.sendall(more * (PIECE // len(more)))
        except OSError:
            pass
        else:
            pytest.fail("the server reads without end")
    assert WatchedProtocol.unclaimed_most <= LIMITS.head_bytes_max + PIECE
    answer = served.ask(begin + more * (60_000 // len(more)))
    assert problem(answer)[0] == status


def test_what_is_long_but_allowed_is_answered(served: Served) -> None:
    target = b"/" + b"a" * (LIMITS.target_bytes_max - 1)
    many = b"".join(b"A%d: %s\r\n" % (n, b"b" * 100) for n in range(LIMITS.headers_max - 2))
    answer = served.ask(b"GET " + target + b" HTTP/1.1\r\n" + HOST + many + b"Connection: close\r\n\r\n")
    assert answer.endswith(target)


def test_tiny_chunks_and_a_trailer_are_allowed_and_no_trailer_becomes_a_header(served: Served) -> None:
    body = b"1\r\na\r\n" * 10_000 + b"0\r\nAuthorization: Bearer x\r\n\r\n"
    answer = served.ask(CHUNKED + body + GET_LAST)
    assert answer.count(b"HTTP/1.1 200 ") == 2
    assert served.app.bodies[-2] == b"a" * 10_000
    assert [name for name, _ in served.app.headers] == [b"host", b"connection"]


@pytest.mark.parametrize(
    "request_",
    [
        b"GET /a HTTP/1.1\r\n\r\n",
        b"GET /a HTTP/1.1\nHost: x\n\n",
        b"GET /a HTTP/1.1\r\nHost: x\nA: b\r\n\r\n",
        b"GET /a HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n",
        b"GET /a HTTP/1.1\r\nHost: x\r\nA: b\x00c\r\n\r\n",
        b"GET /a HTTP/2.0\r\nHost: x\r\n\r\n",
        b"GET /a\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n",
        b"CONNECT y:443 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00",
        POST + b"Host: y\r\nContent-Length: 0\r\n\r\n",
        POST + b"Idempotency-Key: a\r\nidempotency-key: a\r\nContent-Length: 0\r\n\r\n",
        POST + b"Authorization: Bearer a\r\nAuthorization: Bearer b\r\nContent-Length: 0\r\n\r\n",
        POST + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\na",
        POST + b"Content-Length: 1, 1\r\n\r\na",
        POST + b"Content-Length: +1\r\n\r\na",
        POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        b"POST /echo HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ],
)
def test_what_can_be_read_in_two_ways_never_reaches_the_application(served: Served, request_: bytes) -> None:
    served.app.called.clear()
    answer = served.ask(request_ + GET_LAST)
    assert problem(answer) == (400, "malformed_request")
    assert served.app.called == []


def test_a_body_that_is_announced_too_large_is_refused_before_it_comes(served: Served) -> None:
    served.app.called.clear()
    assert problem(served.ask(POST + b"Content-Length: 50001\r\n\r\n")) == (413, "body_too_large")
    assert problem(served.ask(POST + b"Content-Length: 999999999999999999\r\n\r\n")) == (
        413,
        "body_too_large",
    )
    assert served.app.called == []


@pytest.mark.parametrize(
    ("request_", "path"),
    [
        (b"GET /a?q=1 HTTP/1.0\r\n\r\n", "/a"),
        (b"GET http://elsewhere/a%20b?q HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "/a b"),
        (b"GET http://elsewhere HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "/"),
        (b"OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "*"),
        (b"GET /a HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", "/a"),
        (POST + b"Connection: upgrade\r\nUpgrade: h2c\r\nContent-Length: 1\r\n\r\na", "/echo"),
        (b"GET /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "/a"),
    ],
)
def test_what_follows_the_last_request_of_a_connection_is_no_request(
    served: Served, request_: bytes, path: str
) -> None:
    served.app.called.clear()
    answer = served.ask(request_ + GET_LAST)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"connection: close" in answer
    assert served.app.called == [path]


def test_a_client_that_asks_first_is_told_to_go_on(served: Served) -> None:
    head = POST + b"Connection: close\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n"
    assert served.ask(head + b"a").startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK")


def test_requests_that_come_together_are_answered_in_their_order(served: Served) -> None:
    together = b"".join(b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n" % n for n in range(10))
    answer = served.ask(together + GET_LAST)
    bodies = [part.rpartition(b"\r\n\r\n")[2] for part in answer.split(b"HTTP/1.1 ")[1:]]
    assert bodies == [*(b"/%d" % n for n in range(10)), b"/last"]


def test_of_too_many_that_come_together_the_first_are_answered_and_the_last_of_them_says_so(
    served: Served,
) -> None:
    answer = served.ask(b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n" * 1_000)
    answers = answer.split(b"HTTP/1.1 200 OK")[1:]
    assert len(answers) == LIMITS.pipelined_max + 1
    assert [b"connection: close" in each for each in answers] == [False] * LIMITS.pipelined_max + [True]


def test_a_refusal_waits_for_the_answers_before_it(served: Served) -> None:
    served.app.may_answer.clear()
    with served.connect() as client:
        client.sendall(b"GET /hold HTTP/1.1\r\nHost: x\r\n\r\nGARBAGE\r\n\r\n")
        served.app.may_answer.set()
        first, second = rest(client).split(b"HTTP/1.1 400 ")
    assert first.startswith(b"HTTP/1.1 200 OK")
    assert first.endswith(b"/hold")
    assert problem(b"HTTP/1.1 400 " + second) == (400, "malformed_request")


def test_a_bug_is_a_problem_too(served: Served) -> None:
    assert problem(served.ask(b"GET /bug HTTP/1.1\r\nHost: x\r\n\r\n")) == (500, "internal_error")


def test_every_refusal_is_a_problem_that_is_documented() -> None:
    documented = {(kind.code, kind.status, kind.title) for kind in problems.GENERAL}
    assert {(each.code, each.status, each.title) for each in refusals.ALL} <= documented
