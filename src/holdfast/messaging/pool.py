"""A pool of connections that fails fast: whoever needs one while the server is down hears so at once.

What a connection is, and when one is broken, is not known here.
"""

from collections.abc import Callable
from threading import Condition
from typing import Generic, Protocol, TypeVar

import structlog

log = structlog.get_logger(__name__)


class Closeable(Protocol):
    def close(self) -> None:
        """Let go of it."""


C = TypeVar("C", bound=Closeable)


class PoolExhausted(Exception):
    """All connections stayed in use for as long as one may wait."""


class ServerDown(Exception):
    """Somebody could not connect a moment ago; it is not tried again yet."""


class Pool(Generic[C]):
    """At most `size` connections, made by `connect` in the thread that needs one; the last used is first out.

    One that is `lifetime_s` old is replaced. After a failed attempt nobody tries for `rest_s`: attempts may
    take long where packets are dropped, and callers have better things to do than to wait one by one.
    """

    def __init__(
        self,
        connect: Callable[[], C],
        clock: Callable[[], float],
        size: int,
        *,
        wait_s: float = 5.0,
        rest_s: float = 0.25,
        lifetime_s: float = 1800.0,
    ) -> None:
        self._connect = connect
        self._clock = clock
        self._size = size
        self._wait_s = wait_s
        self._rest_s = rest_s
        self._lifetime_s = lifetime_s
        self._changed = Condition()
        self._idle: list[C] = []
        self._born: dict[int, float] = {}  # of every connection, by its id()
        self._taken = 0
        self._down_until = 0.0
        self._down: Exception | None = None
        self._closed = False
        self._lost = False

    def take(self) -> C:
        """Return a connection that nobody else has.

        Raises PoolExhausted, ServerDown, or what `connect` raised.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._closed or self._taken < self._size, self._wait_s):
                raise PoolExhausted(f"all {self._size} connections were in use for {self._wait_s:g} s")
            if self._closed:
                raise ServerDown("the pool is closed")
            connection = self._young()
            if connection is None and self._clock() < self._down_until:
                raise ServerDown(str(self._down)) from self._down
            self._taken += 1
        return connection if connection is not None else self._open()

    def give_back(self, connection: C) -> None:
        """Return a connection that works, with nothing under way."""
        with self._changed:
            keep = not self._closed and id(connection) in self._born
            if keep:
                self._idle.append(connection)
            self._left()
        if not keep:
            connection.close()

    def discard(self, connection: C) -> None:
        """Return a connection that is broken.

        Its idle neighbours go too, and those in use when they are returned: what broke one (a restart, a
        primary that has become a standby) most often broke all.
        """
        with self._changed:
            self._born.clear()
            idle, self._idle = self._idle, []
            self._note_lost("a connection broke")
            self._left()
        for each in (connection, *idle):
            each.close()

    def close(self) -> None:
        """Close what is idle; a connection in use is closed when it is returned."""
        with self._changed:
            self._closed = True
            idle, self._idle = self._idle, []
            self._changed.notify_all()
        for each in idle:
            each.close()

    def _young(self) -> C | None:
        while self._idle:
            connection = self._idle.pop()
            if self._clock() - self._born[id(connection)] < self._lifetime_s:
                return connection
            del self._born[id(connection)]
            connection.close()
        return None

    def _open(self) -> C:
        try:
            connection = self._connect()
        except Exception as error:
            with self._changed:
                self._down, self._down_until = error, self._clock() + self._rest_s
                self._note_lost(str(error))
                self._left()
            raise
        with self._changed:
            self._born[id(connection)] = self._clock()
            if self._lost:
                self._lost = False
                log.info("database_connected_again")
        return connection

    def _note_lost(self, error: str) -> None:
        if not self._lost:
            self._lost = True
            log.warning("database_connection_lost", error=error)

    def _left(self) -> None:
        self._taken -= 1
        self._changed.notify()
