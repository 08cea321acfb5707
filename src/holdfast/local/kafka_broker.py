"""One broker of a local Kafka, which is also a controller: its properties, its folder, its process.

kafka.py decides how many there are, and when they start and stop.
"""

import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from holdfast.bus.kafka.bus import KafkaBus
from holdfast.bus.kafka.settings import KafkaSettings
from holdfast.bus.port import BusUnavailable
from holdfast.local import processes
from holdfast.local.kafka_jars import KafkaFailed, java

_ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}
_JVM = ("-XX:+UseSerialGC", "-XX:-UsePerfData", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn")


class Broker:
    """A broker with its number, from 1, and its ports; `folder` is its own."""

    def __init__(self, number: int, folder: Path, port: int, controller_port: int) -> None:
        self.number = number
        self.folder = folder
        self.log = folder.with_suffix(".log")
        self.port = port
        self.controller_port = controller_port
        self._properties = folder / "server.properties"
        self._process: subprocess.Popen[bytes] | None = None
        self._log_start = 0

    @property
    def address(self) -> str:
        """The address for clients."""
        return f"{processes.HOST}:{self.port}"

    @property
    def running(self) -> bool:
        """Whether its process exists, frozen or not."""
        return self._process is not None and self._process.poll() is None

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """Its process, also after it has ended."""
        if self._process is None:
            raise KafkaFailed(f"broker {self.number} has not been started yet")
        return self._process

    def prepare(self, libs: Path, cluster_id: str, properties: Mapping[str, str]) -> None:
        """Write the properties, and make the data folder if there is none."""
        self.folder.mkdir(parents=True, exist_ok=True)
        data = self.folder / "log"
        lines = {**properties, "log.dirs": str(data)}.items()
        self._properties.write_text("".join(f"{name}={value}\n" for name, value in lines))
        if (data / "meta.properties").exists():
            return
        tool = ("kafka.tools.StorageTool", "format", "-t", cluster_id, "-c", str(self._properties))
        formatted = processes.run(_command(libs, "-XX:TieredStopAtLevel=1", *tool), env=_ENVIRONMENT)
        if formatted.returncode != 0:
            raise KafkaFailed(f"Kafka could not make {data}: {_main_line(formatted.stderr)}")

    def launch(self, libs: Path, heap_mb: int) -> None:
        """Start the process and return at once."""
        for port in (self.port, self.controller_port):
            if not processes.is_free(port):
                raise KafkaFailed(f"port {port} is taken")
        self._log_start = self.log.stat().st_size if self.log.exists() else 0
        self._process = processes.start(
            _command(libs, f"-Xmx{heap_mb}m", "kafka.Kafka", str(self._properties)),
            death_signal=signal.SIGKILL,  # a frozen process does not react to a gentler one
            log=self.log,
            env=_ENVIRONMENT,
        )

    def await_service(self, brokers: int, deadline: float) -> None:
        """Return when it serves and knows so many brokers; raises KafkaFailed with its last message."""
        bus = KafkaBus(KafkaSettings(self.address, lookup_timeout_s=1.0, options={"log_level": 0}))
        while self.running and time.monotonic() < deadline:
            try:
                if bus.broker_count() >= brokers:
                    return
            except BusUnavailable:
                continue
            time.sleep(0.05)
        how = "does not answer" if self.running else "ended"
        raise KafkaFailed(
            f"broker {self.number} {how}: {_main_line(self._log_since_launch())} (see {self.log})"
        )

    def _log_since_launch(self) -> str:
        with self.log.open("rb") as log:
            log.seek(self._log_start)
            return log.read().decode(errors="replace")


def properties_of(broker: Broker, brokers: Sequence[Broker]) -> dict[str, str]:
    """Return the properties of one of these brokers; three replicate, and survive the loss of one."""
    voters = ",".join(f"{each.number}@{processes.HOST}:{each.controller_port}" for each in brokers)
    replicas, in_sync = ("1", "1") if len(brokers) == 1 else ("3", "2")
    internal = ("offsets.topic", "transaction.state.log", "share.coordinator.state.topic")
    return {
        "process.roles": "broker,controller",
        "node.id": str(broker.number),
        "controller.quorum.voters": voters,
        "listeners": f"BROKER://{broker.address},CONTROLLER://{processes.HOST}:{broker.controller_port}",
        "advertised.listeners": f"BROKER://{broker.address}",
        "listener.security.protocol.map": "BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "inter.broker.listener.name": "BROKER",
        "controller.listener.names": "CONTROLLER",
        "auto.create.topics.enable": "false",
        "unclean.leader.election.enable": "false",
        "default.replication.factor": replicas,
        "min.insync.replicas": in_sync,
        **{f"{topic}.replication.factor": replicas for topic in internal},
        "transaction.state.log.min.isr": in_sync,
        "share.coordinator.state.topic.min.isr": in_sync,
        "offsets.topic.num.partitions": "4",  # not 50: a small cluster starts and recovers faster
        "group.initial.rebalance.delay.ms": "0",
        "group.min.session.timeout.ms": "500",  # tests let members die quickly
    }


def _command(libs: Path, *rest: str) -> list[str]:
    return [str(java()), *_JVM, "-cp", f"{libs}/*", *rest]


def _main_line(text: str) -> str:
    """Return the most telling line: the last that names an exception, else the last of all."""
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("\t")]
    return ([line for line in lines if "Exception" in line] or lines or ["it said nothing"])[-1]
