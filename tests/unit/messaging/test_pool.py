"""The pool: bounded, fails fast while the server is down, and keeps nothing that is broken."""

import threading

import pytest

from holdfast.messaging.pool import Pool, PoolExhausted, ServerDown


class Server:
    """Makes connections, unless it is down."""

    def __init__(self) -> None:
        self.now = 0.0
        self.down = False
        self.attempts = 0
        self.made: list[Connection] = []

    def connect(self) -> "Connection":
        self.attempts += 1
        if self.down:
            raise OSError("refused")
        self.made.append(Connection())
        return self.made[-1]

    def pool(self, size: int = 2, wait_s: float = 0.05) -> "Pool[Connection]":
        return Pool(self.connect, lambda: self.now, size, wait_s=wait_s, rest_s=1.0, lifetime_s=100.0)


class Connection:
    def __init__(self) -> None:
        self.closed = False

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def server() -> Server:
    return Server()


def test_the_connection_used_last_is_used_next(server: Server) -> None:
    pool = server.pool()
    first, second = pool.take(), pool.take()
    pool.give_back(first)
    pool.give_back(second)
    assert pool.take() is second
    assert pool.take() is first
    assert server.attempts == 2


def test_more_than_its_size_is_never_open(server: Server) -> None:
    pool = server.pool()
    pool.take()
    pool.take()
    with pytest.raises(PoolExhausted):
        pool.take()


def test_who_waits_gets_what_another_returns(server: Server) -> None:
    pool = server.pool(size=1, wait_s=60)
    mine = pool.take()
    got: list[Connection] = []
    waiting = threading.Thread(target=lambda: got.append(pool.take()))
    waiting.start()
    pool.give_back(mine)
    waiting.join(60)
    assert got == [mine]


def test_a_server_that_is_down_is_not_asked_by_everybody(server: Server) -> None:
    pool, server.down = server.pool(), True
    with pytest.raises(OSError, match="refused"):
        pool.take()
    for _ in range(5):
        with pytest.raises(ServerDown, match="refused"):
            pool.take()
    assert server.attempts == 1
    server.now, server.down = 1.0, False
    assert pool.take() is server.made[0]


def test_a_failed_attempt_takes_no_place(server: Server) -> None:
    pool, server.down = server.pool(size=1), True
    for _ in range(3):
        server.now += 1.0
        with pytest.raises(OSError, match="refused"):
            pool.take()
    server.now, server.down = server.now + 1.0, False
    assert pool.take() is server.made[0]


def test_idle_connections_are_used_while_new_ones_are_refused(server: Server) -> None:
    pool = server.pool()
    mine = pool.take()
    server.down = True
    with pytest.raises(OSError, match="refused"):
        pool.take()
    pool.give_back(mine)
    assert pool.take() is mine


def test_what_broke_one_broke_all(server: Server) -> None:
    pool = server.pool(size=3)
    broken, idle, in_use = pool.take(), pool.take(), pool.take()
    pool.give_back(idle)
    pool.discard(broken)
    assert broken.closed
    assert idle.closed
    pool.give_back(in_use)
    assert in_use.closed
    assert pool.take() not in {broken, idle, in_use}


def test_a_connection_has_its_age(server: Server) -> None:
    pool = server.pool()
    old = pool.take()
    pool.give_back(old)
    server.now = 100.0
    assert pool.take() is not old
    assert old.closed


def test_a_closed_pool_lends_nothing_and_keeps_nothing(server: Server) -> None:
    pool = server.pool()
    in_use, idle = pool.take(), pool.take()
    pool.give_back(idle)
    pool.close()
    assert idle.closed
    pool.give_back(in_use)
    assert in_use.closed
    with pytest.raises(ServerDown, match="closed"):
        pool.take()


def test_who_waits_hears_that_it_was_closed(server: Server) -> None:
    pool = server.pool(size=1, wait_s=60)
    pool.take()
    heard: list[Exception] = []

    def wait() -> None:
        with pytest.raises(ServerDown) as caught:
            pool.take()
        heard.append(caught.value)

    waiting = threading.Thread(target=wait)
    waiting.start()
    pool.close()
    waiting.join(60)
    assert len(heard) == 1
