"""A door between the test and Kafka's brokers, that can be shut.

Clients connect where a broker says it is, so its answers are rewritten to name the door instead.
"""

import socket
import struct
from contextlib import suppress

from confluent_kafka.admin import AdminClient
from tests.conformance.tcp_proxy import TcpProxy


class KafkaDoor:
    """One door for each broker of a cluster on this machine."""

    def __init__(self, bootstrap: str) -> None:
        brokers = AdminClient({"bootstrap.servers": bootstrap}).list_topics(timeout=30).brokers.values()
        hosts = {broker.host for broker in brokers}
        assert hosts <= {"localhost", "127.0.0.1"}, (
            f"only connections on this machine can be cut, not {hosts}"
        )
        self._doors = [_BrokerDoor(broker.port) for broker in brokers]
        names = {
            _address(broker.host, broker.port): _address(broker.host, door.port)
            for broker, door in zip(brokers, self._doors, strict=True)
        }
        for door in self._doors:
            door.names = names
        self.bootstrap = ",".join(f"127.0.0.1:{door.port}" for door in self._doors)

    def shut(self) -> None:
        for door in self._doors:
            door.shut()

    def open(self) -> None:
        for door in self._doors:
            door.open()


class _BrokerDoor(TcpProxy):
    """Forwards to one broker, and in its answers replaces the brokers' addresses by those of their doors."""

    names: dict[bytes, bytes]

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        if source.getpeername()[1] != self._target:
            super()._pump(source, sink)
            return
        with source.makefile("rb") as answers, suppress(OSError):
            while size := answers.read(4):
                frame = answers.read(int.from_bytes(size, "big"))
                for name, door in self.names.items():
                    frame = frame.replace(name, door)
                sink.sendall(size + frame)
        super()._pump(source, sink)  # nothing comes any more: this closes both


def _address(host: str | None, port: int) -> bytes:
    """Return an address as it stands in every answer that has one: the host's name, then the port."""
    assert host is not None
    return host.encode() + struct.pack(">i", port)
