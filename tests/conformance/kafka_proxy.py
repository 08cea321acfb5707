"""A proxy between the test and Kafka's brokers, that can be shut.

Clients connect where a broker says it is, so its answers are rewritten to name the proxy instead.
"""

import socket
import struct
from contextlib import suppress

from confluent_kafka.admin import AdminClient
from tests.conformance.tcp_proxy import TcpProxy


class KafkaProxy:
    """A proxy for each broker of a cluster on this machine."""

    def __init__(self, bootstrap: str) -> None:
        brokers = AdminClient({"bootstrap.servers": bootstrap}).list_topics(timeout=30).brokers.values()
        hosts = {broker.host for broker in brokers}
        assert hosts <= {"localhost", "127.0.0.1"}, (
            f"only connections on this machine can be cut, not {hosts}"
        )
        self._proxies = [_BrokerProxy(broker.port) for broker in brokers]
        names = {
            _address(broker.host, broker.port): _address(broker.host, proxy.port)
            for broker, proxy in zip(brokers, self._proxies, strict=True)
        }
        for proxy in self._proxies:
            proxy.names = names
        self.bootstrap = ",".join(f"127.0.0.1:{proxy.port}" for proxy in self._proxies)

    def shut(self) -> None:
        for proxy in self._proxies:
            proxy.shut()

    def open(self) -> None:
        for proxy in self._proxies:
            proxy.open()


class _BrokerProxy(TcpProxy):
    """Forwards to one broker, and replaces brokers' addresses in its answers by those of their proxies."""

    names: dict[bytes, bytes]

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        if source.getpeername()[1] != self._target:
            super()._pump(source, sink)
            return
        with source.makefile("rb") as answers, suppress(OSError):
            while size := answers.read(4):
                frame = answers.read(int.from_bytes(size, "big"))
                for name, proxy in self.names.items():
                    frame = frame.replace(name, proxy)
                sink.sendall(size + frame)
        super()._pump(source, sink)  # nothing comes any more: this closes both


def _address(host: str | None, port: int) -> bytes:
    """Return an address as it stands in every answer that has one: the host's name, then the port."""
    assert host is not None
    return host.encode() + struct.pack(">i", port)
