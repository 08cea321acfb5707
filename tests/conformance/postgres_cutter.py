"""A proxy to PostgreSQL that cuts a connection exactly at COMMIT, before or after the server gets it."""

import socket
import threading
from contextlib import suppress

from tests.conformance.tcp_proxy import TcpProxy

_COMMIT = b"\0commit\0"
"""The name of a prepared statement in a message that executes it."""


class CommitCutter(TcpProxy):
    """Forwards until it is told to cut: then the next COMMIT ends its connection.

    It arrives and its answer is lost, or it never arrives. Its messages are short and sent at once, so each
    comes in one piece.
    """

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self._arrives: bool | None = None
        self._skip = 0
        self._guard = threading.Lock()
        self._muted: set[socket.socket] = set()
        self.cuts = 0

    def cut_next(self, *, arrives: bool, skip: int = 0) -> None:
        """Cut at the next commit, after letting `skip` of them pass."""
        with self._guard:
            self._arrives, self._skip = arrives, skip

    def cut_none(self) -> None:
        """Take back `cut_next` where no commit came."""
        with self._guard:
            self._arrives = None

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        if source.getpeername()[1] == self._target:
            self._pump_answers(source, sink)
            return
        with suppress(OSError):
            while data := source.recv(1 << 16):
                cut = self._to_cut(data)
                if cut is None:
                    sink.sendall(data)
                    continue
                if cut:  # the client hears the end of its connection once the server has committed
                    self._muted.add(source)
                    sink.sendall(data)
                else:
                    source.shutdown(socket.SHUT_RDWR)
                sink.shutdown(socket.SHUT_WR)
                return
        super()._pump(source, sink)

    def _pump_answers(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                if sink not in self._muted:
                    sink.sendall(data)
        super()._pump(source, sink)

    def _to_cut(self, data: bytes) -> bool | None:
        if _COMMIT not in data:
            return None
        with self._guard:
            if self._arrives is None or self._skip > 0:
                self._skip -= 1
                return None
            arrives, self._arrives = self._arrives, None
            self.cuts += 1
            return arrives
