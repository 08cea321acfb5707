"""Which connections a listener has, and which of them gives way when there is no room for another.

A connection waits if its client must act next: it is silent, slow, idle between requests, or does not read
its answer. The one that has waited longest is closed first; one that we owe an answer is never closed. So an
attacker who fills the table with silent connections closes his own with each new one, and a new client is
turned away only if all connections are at work.
"""

import asyncio
from collections import Counter
from typing import Protocol

from holdfast.http_server.limits import Limits, client_of

SWEEP_S = 0.25
REFUSED_AT_ONCE_MAX = 256


class Connection(Protocol):
    """A connection, as the table sees it; both deadlines are in the event loop's time."""

    deadline: float
    answer_deadline: float

    def expire(self, now: float) -> None:
        """Act on a deadline that has passed."""
        ...

    def give_way(self) -> None:
        """Close at once."""
        ...


class Client:
    """One client's connections; `waiting` has the longest waiting first."""

    __slots__ = ("is_limited", "key", "open", "waiting")

    def __init__(self, key: str, *, is_limited: bool) -> None:
        self.key = key
        self.is_limited = is_limited
        self.open = 0
        self.waiting: dict[Connection, None] = {}


class ConnectionTable:
    """All connections of one listener."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.is_leaving = False
        self.refused: Counter[str] = Counter()
        self._clients: dict[str, Client] = {}
        self._client_of: dict[Connection, Client] = {}
        self._waiting: dict[Connection, None] = {}
        self._turned_away: set[Connection] = set()
        self._sweeper: asyncio.TimerHandle | None = None

    @property
    def open(self) -> int:
        """The number of admitted connections."""
        return len(self._client_of)

    @property
    def waiting(self) -> int:
        """The number of admitted connections that may be closed for a new one."""
        return len(self._waiting)

    def admit(self, connection: Connection, host: str) -> bool:
        """Admit a connection, if necessary by closing the longest waiting one; False if all are at work."""
        client = self._client(host)
        is_over = client.is_limited and client.open >= self.limits.connections_per_client_max
        if is_over and not self._make_room(client.waiting):
            return False
        if not is_over and self.open >= self.limits.connections_max and not self._make_room(self._waiting):
            return False
        client.open += 1
        self._clients[client.key] = client
        self._client_of[connection] = client
        self._sweep_soon()
        return True

    def turn_away(self, connection: Connection) -> bool:
        """Keep a refused connection until it has its 503; False if too many are being refused."""
        if len(self._turned_away) >= REFUSED_AT_ONCE_MAX:
            return False
        self._turned_away.add(connection)
        self._sweep_soon()
        return True

    def waits(self, connection: Connection) -> None:
        """Note that from now on the client must act next."""
        client = self._client_of.get(connection)
        if client is not None:
            self._waiting.pop(connection, None)
            self._waiting[connection] = None
            if client.is_limited:
                client.waiting.pop(connection, None)
                client.waiting[connection] = None

    def works(self, connection: Connection) -> None:
        """Note that we must act next."""
        client = self._client_of.get(connection)
        if client is not None:
            self._waiting.pop(connection, None)
            if client.is_limited:
                client.waiting.pop(connection, None)

    def remove(self, connection: Connection) -> None:
        """Forget a connection; harmless if it is not there."""
        self._turned_away.discard(connection)
        self.works(connection)
        client = self._client_of.pop(connection, None)
        if client is not None:
            client.open -= 1
            if not client.open:
                self._clients.pop(client.key, None)

    def _client(self, host: str) -> Client:
        is_limited = self.limits.connections_per_client_max > 0 and not self.limits.is_proxy(host)
        key = client_of(host) if is_limited else host
        return self._clients.get(key) or Client(key, is_limited=is_limited)

    def _make_room(self, waiting: dict[Connection, None]) -> bool:
        victim = next(iter(waiting), None)
        if victim is None:
            return False
        self.remove(victim)
        self.refused["gave_way"] += 1
        victim.give_way()
        return True

    def _sweep_soon(self) -> None:
        if self._sweeper is None:
            self._sweeper = asyncio.get_running_loop().call_later(SWEEP_S, self._sweep)

    def _sweep(self) -> None:
        """Check every deadline: cheaper than timers, of which each request would need several."""
        now = asyncio.get_running_loop().time()
        for connection in (*self._client_of, *self._turned_away):
            if connection.deadline <= now or connection.answer_deadline <= now:
                connection.expire(now)
        self._sweeper = None
        if self._client_of or self._turned_away:
            self._sweep_soon()
