"""Wake-ups beside the polling: datagrams between the processes of a machine, or LISTEN/NOTIFY.

A wake-up may be lost, late or superfluous, so no correctness may depend on it: polling finds every message.
"""

import os
import select
import socket
import zlib
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol
from uuid import uuid4

from psycopg import sql

from holdfast.bus.postgres.session import Connection, Session

MESSAGES_AVAILABLE = b"news"
MEMBERS = b"members"
"""The two words of a wake-up: there are messages; a member joined, left or gave up partitions."""

_WAKE = b"wake"

_PATH_MAX = 107  # of a Unix socket
_NAME_LENGTH = 18
_GONE = (ConnectionRefusedError, FileNotFoundError)


class WakeupListener(Protocol):
    """What a waiting poll sleeps on. The flags stay set until the consumer resets them."""

    messages_available: bool
    members_changed: bool
    woken: bool

    def wait(self, timeout_s: float) -> None:
        """Return once a wake-up has come since the last call, or after the timeout."""

    def wake(self) -> None:
        """Set `woken` and end the wait under way, or the next one; safe from any thread."""

    def close(self) -> None:
        """Stop listening."""


class WakeupSender:
    """Sends a datagram to every socket in the folder whose name begins with the topic's hash."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._socket = _datagram_socket()

    def notify(self, topics: Iterable[str], word: bytes) -> None:
        hashes = {_hash(topic) for topic in topics}
        try:
            names = os.listdir(self._folder)  # noqa: PTH208 - three times as fast, and on every publish
        except FileNotFoundError:
            return  # no consumer has ever listened
        for name in names:
            if name[:8] in hashes:
                self._send(word, f"{self._folder}/{name}")

    def close(self) -> None:
        self._socket.close()

    def _send(self, word: bytes, path: str) -> None:
        try:
            self._socket.sendto(word, path)
        except BlockingIOError:
            pass  # its queue is full, so it will wake anyway
        except _GONE:
            Path(path).unlink(missing_ok=True)  # its process was killed; a name is never used again


class SocketListener:
    """Listens on a socket in the folder, which has one name per topic."""

    def __init__(self, folder: Path, topics: Sequence[str]) -> None:
        self.messages_available = False
        self.members_changed = False
        self.woken = False
        self._socket = _datagram_socket()
        self._poll = _poll_on(self._socket.fileno())
        folder.mkdir(parents=True, exist_ok=True)
        token = uuid4().hex[:8]
        self._paths = [folder / f"{_hash(topic)}.{token}" for topic in topics]
        self._socket.bind(str(self._paths[0]))
        for path in self._paths[1:]:
            path.symlink_to(self._paths[0].name)
        self._waker = _datagram_socket()

    def wait(self, timeout_s: float) -> None:
        if not self.woken and not self._poll.poll(timeout_s * 1000):
            return
        while True:
            try:
                word = self._socket.recv(16)
            except BlockingIOError:
                return
            self.messages_available |= word == MESSAGES_AVAILABLE
            self.members_changed |= word == MEMBERS

    def wake(self) -> None:
        self.woken = True
        with suppress(OSError):  # full: a wait will find something to read; closed: there will be no wait
            self._waker.sendto(_WAKE, str(self._paths[0]))

    def close(self) -> None:
        for path in self._paths:
            path.unlink(missing_ok=True)
        self._socket.close()
        self._waker.close()


class NotifyListener:
    """Listens on the consumer's own session; call `listen` on each new connection of it."""

    def __init__(self, session: Session, topics: Sequence[str]) -> None:
        self.messages_available = False
        self.members_changed = False
        self.woken = False
        self._session = session
        self._topics = topics
        self._inside, self._outside = socket.socketpair()
        self._inside.setblocking(False)
        self._outside.setblocking(False)

    def listen(self, connection: Connection) -> None:
        for topic in self._topics:
            connection.execute(sql.SQL("listen {}").format(sql.Identifier(topic)))

    def wait(self, timeout_s: float) -> None:
        descriptor = self._session.descriptor()
        if not self._receive() and not self.woken:  # one may have come with the answer to a statement
            _poll_on(descriptor, self._inside.fileno()).poll(timeout_s * 1000)
            self._receive()
        with suppress(BlockingIOError):
            while self._inside.recv(64):
                pass

    def wake(self) -> None:
        self.woken = True
        with suppress(OSError):  # full: a wait will find something to read; closed: there will be no wait
            self._outside.send(_WAKE)

    def close(self) -> None:
        self._inside.close()
        self._outside.close()

    def _receive(self) -> bool:
        words = self._session.notifications()
        self.messages_available |= MESSAGES_AVAILABLE in words
        self.members_changed |= MEMBERS in words
        return bool(words)


def check_folder(folder: Path) -> None:
    """Raise ValueError if the folder's path leaves no room for a socket's name."""
    if len(os.fsencode(folder)) + _NAME_LENGTH > _PATH_MAX:
        raise ValueError(f"the wake-up folder's path is too long for Unix sockets: {folder}")


def _hash(topic: str) -> str:
    return f"{zlib.crc32(topic.encode()):08x}"


def _datagram_socket() -> socket.socket:
    unbound = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    unbound.setblocking(False)
    return unbound


def _poll_on(*descriptors: int) -> select.poll:
    poll = select.poll()
    for descriptor in descriptors:
        poll.register(descriptor, select.POLLIN)
    return poll
