"""A pool of connections that fails fast: while the server is down, callers get an error at once.

It knows neither what a connection is nor when one is broken: the caller says so.
"""

from collections.abc import Callable
from threading import Condition
from typing import Generic, Protocol, TypeVar

import structlog

log = structlog.get_logger(__name__)


class Closeable(Protocol):
    def close(self) -> None:
        """Close it."""


C = TypeVar("C", bound=Closeable)


class PoolExhausted(Exception):
    """All connections stayed in use for `wait_s`."""


class ServerDown(Exception):
    """An attempt to connect failed a moment ago, and the next one is not due yet; or the pool is closed."""


class Pool(Generic[C]):
    """At most `size` connections, made by `connect` in the thread that needs one; reused last in, first out.

    A connection that is `lifetime_s` old is replaced. After a failed attempt no caller tries for `rest_s`: an
    attempt may take long if packets are dropped, and each caller would wait for one of its own.
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
        self._opened_at: dict[int, float] = {}  # of every connection, by its id()
        self._taken = 0
        self._down_until = 0.0
        self._down: Exception | None = None
        self._closed = False
        self._lost = False

    def take(self) -> C:
        """Return a connection for this caller alone.

        Raises PoolExhausted, ServerDown, or what `connect` raised.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._closed or self._taken < self._size, self._wait_s):
                raise PoolExhausted(f"all {self._size} connections were in use for {self._wait_s:g} s")
            if self._closed:
                raise ServerDown("the pool is closed")
            connection = self._reusable()
            if connection is None and self._clock() < self._down_until:
                raise ServerDown(str(self._down)) from self._down
            self._taken += 1
        return connection if connection is not None else self._open()

    def give_back(self, connection: C) -> None:
        """Give back a connection that works, with nothing under way."""
        with self._changed:
            keep = not self._closed and id(connection) in self._opened_at
            if keep:
                self._idle.append(connection)
            self._release_slot()
        if not keep:
            connection.close()

    def discard(self, connection: C) -> None:
        """Give back a broken connection; it is closed.

        All idle connections are closed too, and those in use when they come back: what broke one (a restart,
        a primary that became a standby) most often broke all.
        """
        with self._changed:
            self._opened_at.clear()
            idle, self._idle = self._idle, []
            self._note_lost("a connection broke")
            self._release_slot()
        for each in (connection, *idle):
            each.close()

    def close(self) -> None:
        """Close idle connections; a connection in use is closed when it comes back."""
        with self._changed:
            self._closed = True
            idle, self._idle = self._idle, []
            self._changed.notify_all()
        for each in idle:
            each.close()

    def _reusable(self) -> C | None:
        while self._idle:
            connection = self._idle.pop()
            if self._clock() - self._opened_at[id(connection)] < self._lifetime_s:
                return connection
            del self._opened_at[id(connection)]
            connection.close()
        return None

    def _open(self) -> C:
        try:
            connection = self._connect()
        except Exception as error:
            with self._changed:
                self._down, self._down_until = error, self._clock() + self._rest_s
                self._note_lost(str(error))
                self._release_slot()
            raise
        with self._changed:
            self._opened_at[id(connection)] = self._clock()
            if self._lost:
                self._lost = False
                log.info("database_connected_again")
        return connection

    def _note_lost(self, error: str) -> None:
        if not self._lost:
            self._lost = True
            log.warning("database_connection_lost", error=error)

    def _release_slot(self) -> None:
        self._taken -= 1
        self._changed.notify()
