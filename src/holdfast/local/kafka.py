"""A real Apache Kafka (KRaft) on the loopback address; it ends with the process that started it.

For experiments, tests and faults: it has neither TLS nor accounts, and is not for production.
"""

import argparse
import base64
import fcntl
import signal
import sys
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self, TextIO

from holdfast.local import processes
from holdfast.local.kafka_broker import Broker, properties_of
from holdfast.local.kafka_jars import KafkaFailed, jars

__all__ = ["KafkaFailed", "LocalKafka", "main"]

LIBS = Path(".kafka/libs")
DATA = Path(".kafka/data")


class LocalKafka:
    """One broker, or three that replicate, on one data folder; brokers are numbered from 1.

    `port` is the first broker's; the other ports, and this one by default, are free ones, kept as long as
    this object. `settings` override the brokers' properties. What was acknowledged survives `kill` (of one of
    three, with no loss of service), but not a power cut: Kafka leaves writing to the disk to the kernel.
    """

    def __init__(
        self,
        data_dir: Path,
        brokers: int = 1,
        *,
        port: int | None = None,
        libs: Path = LIBS,
        heap_mb: int = 384,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        if brokers not in {1, 3}:
            raise ValueError(f"one broker or three, not {brokers}")
        self.data_dir = data_dir.absolute()
        self._libs = libs
        self._heap_mb = heap_mb
        self._settings = dict(settings or {})
        self._held: TextIO | None = None
        ports = processes.free_ports(2 * brokers)
        ports[0] = port or ports[0]
        self._brokers = [
            Broker(number, self.data_dir / f"broker-{number}", ports.pop(0), ports.pop())
            for number in range(1, brokers + 1)
        ]

    @property
    def bootstrap(self) -> str:
        """The address to give to clients."""
        return ",".join(broker.address for broker in self._brokers)

    @property
    def running(self) -> bool:
        """Whether no broker has ended, by itself or by `kill`."""
        return all(broker.running for broker in self._brokers)

    def pid(self, broker: int = 1) -> int:
        """Return the process id of a broker that was started."""
        return self._broker(broker).process.pid

    def start(self, timeout_s: float = 180.0) -> None:
        """Return when all brokers serve; raises KafkaFailed with Kafka's own message."""
        self._hold()
        self._libs = jars(self._libs)
        deadline = time.monotonic() + timeout_s
        cluster_id = self._cluster_id()
        try:
            for broker in self._brokers:
                broker.prepare(self._libs, cluster_id, properties_of(broker, self._brokers) | self._settings)
            for broker in self._brokers:
                broker.launch(self._libs, self._heap_mb)
            for broker in self._brokers:
                broker.await_service(len(self._brokers), deadline)
        except BaseException:
            self.stop()
            raise

    def stop(self, grace_s: float = 20.0) -> None:
        """End all brokers, in order if they stop within the grace period."""
        alive = [broker.process for broker in self._brokers if broker.running]
        for process in alive:
            process.send_signal(signal.SIGCONT)
        processes.end(alive, signal.SIGTERM, grace_s, signal.SIGKILL)
        if self._held is not None:
            self._held.close()

    def kill(self, broker: int = 1) -> None:
        """Kill one broker, as a crash would."""
        process = self._broker(broker).process
        process.kill()
        process.wait()

    def pause(self, broker: int = 1) -> None:
        """Freeze one broker: it keeps its connections and answers nothing."""
        self._broker(broker).process.send_signal(signal.SIGSTOP)

    def resume(self, broker: int = 1) -> None:
        """Undo `pause`."""
        self._broker(broker).process.send_signal(signal.SIGCONT)

    def restart(self, *brokers: int, timeout_s: float = 180.0) -> None:
        """Start these brokers (default: the first) again on their ports and data; end them first if they run.

        Returns when they serve. If all are down, name all: one alone has no quorum and gives up.
        """
        chosen = [self._broker(number) for number in brokers or (1,)]
        processes.end([each.process for each in chosen], signal.SIGTERM, timeout_s, signal.SIGKILL)
        for each in chosen:
            each.launch(self._libs, self._heap_mb)
        deadline = time.monotonic() + timeout_s
        for each in chosen:
            each.await_service(1, deadline)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _broker(self, number: int) -> Broker:
        return self._brokers[number - 1]

    def _hold(self) -> None:
        """Lock the data folder until `stop`, or until this process and with it the brokers end."""
        self.data_dir.mkdir(parents=True, exist_ok=True)
        self._held = (self.data_dir / "lock").open("w")
        try:
            fcntl.flock(self._held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise KafkaFailed(f"a Kafka is running on {self.data_dir} already") from error

    def _cluster_id(self) -> str:
        kept = self.data_dir / "cluster.id"
        if not kept.exists():
            kept.write_text(_new_cluster_id())
        return kept.read_text()


def _new_cluster_id() -> str:
    """Make an id as Kafka does: none begins with a dash, because its tools would take it for an option."""
    while (text := base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")).startswith("-"):
        pass
    return text


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a Kafka until Ctrl-C, and print its address."""
    parser = argparse.ArgumentParser(prog="python -m holdfast.local.kafka", description=main.__doc__)
    parser.add_argument("--data", type=Path, default=DATA, help="data folder (default: %(default)s)")
    parser.add_argument("--brokers", type=int, choices=(1, 3), default=1, help="default: %(default)s")
    parser.add_argument("--port", type=int, help="the first broker's port (default: a free one)")
    chosen = parser.parse_args(arguments)
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    try:
        with LocalKafka(chosen.data, chosen.brokers, port=chosen.port) as kafka:
            sys.stdout.write(f"{kafka.bootstrap}\n")
            sys.stdout.flush()
            sys.stderr.write("Kafka is up; Ctrl-C stops it\n")
            while kafka.running and not stopping.wait(0.5):
                pass
    except (KafkaFailed, processes.LaunchFailed) as error:
        sys.stderr.write(f"{error}\n")
        return 5
    if not stopping.is_set():
        sys.stderr.write(f"a broker ended by itself; its log is in {kafka.data_dir}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
