"""A whole platform: embedded PostgreSQL, the payment provider and the six services, kept running together.

process_table.py has each process's environment; supervisor.py restarts what ends.
"""

import os
import signal
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from subprocess import Popen
from threading import Event, Lock
from typing import Self

import msgspec

from holdfast.contracts import topics
from holdfast.local import process_table, processes, provision, settings, socket_folder
from holdfast.local.console_writer import ConsoleWriter
from holdfast.local.info import (
    POSTGRES,
    BusInfo,
    PlatformInfo,
    PostgresInfo,
    ProcessStatus,
    ServiceInfo,
    find,
    survey,
)
from holdfast.local.keys import Keys
from holdfast.local.layout import DataFolder, FolderInUse, FolderLock, NotRunning
from holdfast.local.postgres import EmbeddedPostgres
from holdfast.local.supervisor import Supervisor
from holdfast.runtime.principals import AUDITOR

__all__ = [
    "FolderInUse",
    "NotReady",
    "NotRunning",
    "Platform",
    "PlatformInfo",
    "PortTaken",
    "WrongBus",
    "find",
]

# Together at most 15 s, with what `processes.end` adds for processes that do not react.
_SERVICES_GRACE_S = 8.0
_PROVIDER_GRACE_S = 1.5
_POSTGRES_GRACE_S = 4.0


class PortTaken(Exception):
    """Something else listens on the port that was asked for."""


class WrongBus(Exception):
    """The sagas of this data folder are on another bus."""


class BusUnreachable(Exception):
    """Nothing answers at the Kafka broker's address."""


class NotReady(Exception):
    """Some processes were not ready in time."""

    def __init__(self, missing: Sequence[str]) -> None:
        super().__init__(f"not ready: {', '.join(missing)}")
        self.missing = tuple(missing)


class Platform:
    """One platform on one data folder. All its processes end when this process ends, in whatever way.

    `gateway_port=None` draws a free port, as all others are. `kafka` is a broker's HOST:PORT; without it
    PostgreSQL is the bus. `webhooks`: the provider sends webhooks to payment-gateway. `environment` is
    added to every process's; `say` gets a line whenever a process ended or was started again.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        gateway_port: int | None = None,
        kafka: str | None = None,
        environment: Mapping[str, str] | None = None,
        webhooks: bool = False,
        rows: Callable[
            [process_table.ProcessPlan], Sequence[process_table.ProcessRow]
        ] = process_table.processes,
        say: Callable[[str], None] = lambda _line: None,
    ) -> None:
        self.folder = DataFolder(data_dir)
        self.postgres = EmbeddedPostgres(
            self.folder.cluster, log=self.folder.log(POSTGRES), passwords=self.folder.passwords
        )
        self._gateway_port = gateway_port
        self._kafka = kafka
        self._environment = settings.inherited() | dict(environment or {})
        self._webhooks = webhooks
        self._rows = rows
        self._console = ConsoleWriter(say)
        self._supervisor = Supervisor(self._changed)
        self._lock: FolderLock | None = None
        self._writing = Lock()
        self._plan: process_table.ProcessPlan | None = None
        self._started_at = ""
        self._stop_requested = Event()
        self._hurry = Event()

    def start(self) -> PlatformInfo:
        """Start every process and return, before they are ready; on any error nothing is left running.

        Raises FolderInUse, PortTaken, WrongBus, BusUnreachable, LaunchFailed (PostgresFailed).
        """
        self.folder.prepare()
        self._lock = FolderLock(self.folder)
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self.info

    def wait_ready(self, timeout_s: float = 60.0) -> None:
        """Return when every process is ready; raises NotReady, also when a stop is requested meanwhile."""
        deadline = time.monotonic() + timeout_s
        while missing := [each.name for each in self.processes() if not each.ready]:
            if time.monotonic() > deadline or self._stop_requested.wait(0.1):
                raise NotReady(missing)

    @property
    def info(self) -> PlatformInfo:
        """The contents of platform.json, as of now."""
        plan, programs = self._planned, self._supervisor.programs
        server = programs[POSTGRES]
        return PlatformInfo(
            pid=os.getpid(),
            started_at=self._started_at,
            data=str(self.folder.root),
            bus=plan.bus,
            wakeup_folder=plan.wakeup_folder,
            postgres=PostgresInfo(self.postgres.port, server.process.pid, server.restarts),
            services={
                name: ServiceInfo(
                    port=plan.ports[name],
                    url=plan.url(name),
                    ops_port=plan.ops_ports.get(name, plan.ports[name]),
                    ops_url=plan.ops_url(name),
                    dsn=None
                    if name == process_table.PROVIDER
                    else plan.dsn(process_table.database(name), AUDITOR),
                    pid=program.process.pid,
                    restarts=program.restarts,
                )
                for name, program in programs.items()
                if name != POSTGRES
            },
        )

    def processes(self) -> list[ProcessStatus]:
        """Ask every process, PostgreSQL first, whether it is ready."""
        return survey(self.info)

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> int:
        """Send a signal to one process ("postgres": its postmaster), wait for its end if it is SIGKILL.

        Returns the pid that it had; the supervisor starts it again.
        """
        process = self._supervisor.programs[name].process
        process.send_signal(number)
        if number is signal.SIGKILL:
            process.wait()
        return process.pid

    def request_stop(self) -> None:
        """Make `wait` return; a second call makes `stop` wait for no process. Not from a signal handler."""
        if self._stop_requested.is_set():
            self._hurry.set()
        self._stop_requested.set()

    @property
    def stop_requested(self) -> bool:
        return self._stop_requested.is_set()

    def wait(self) -> None:
        """Return when a stop is requested."""
        self._stop_requested.wait()

    def stop(self, *, keep_folder: bool = False) -> None:
        """End every process, the last started first, within 15 s; harmless if nothing runs.

        `keep_folder`: keep the folder's lock until this process has ended.
        """
        self._supervisor.leave()
        self._console.end()
        self._end(topics.SERVICES, _SERVICES_GRACE_S)
        self._end([process_table.PROVIDER], _PROVIDER_GRACE_S)
        self.postgres.stop(_POSTGRES_GRACE_S, self._hurry)
        if self._plan is not None:
            socket_folder.remove(Path(self._plan.wakeup_folder))
        if self._lock is not None:
            self.folder.platform.unlink(missing_ok=True)
            if not keep_folder:
                self._lock.release()
                self._lock = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _start(self) -> None:
        self._forget_killed_platform()
        bus = self._check_bus()
        ports, ops_ports = self._choose_ports()
        Keys(self.folder.keys).ensure()
        self.postgres.start(given_up=self._stop_requested)
        self._supervisor.adopt(POSTGRES, self.postgres.launch, self.postgres.process)
        provision.create_databases(self.postgres)
        if bus.kind == "postgres":
            bus = provision.set_up_bus(self.postgres)
        self._plan = process_table.ProcessPlan(
            self.folder, ports, ops_ports, self.postgres.dsn, bus, str(socket_folder.make()), self._webhooks
        )
        for row in self._rows(self._plan):
            self._supervisor.run(row.name, self._launcher(row))
        self._started_at = datetime.now(UTC).isoformat(timespec="seconds")
        self.folder.bus.write_text(bus.kind)
        self._write_info()
        self._console.start()
        self._supervisor.watch()

    def _launcher(self, row: process_table.ProcessRow) -> Callable[[], Popen[bytes]]:
        def launch() -> Popen[bytes]:
            return processes.start(
                row.command,
                death_signal=signal.SIGKILL,
                log=self.folder.log(row.name),
                env=self._environment | dict(row.env),
            )

        return launch

    def _forget_killed_platform(self) -> None:
        """Remove what a killed supervisor left: its platform.json and its folder of sockets."""
        with suppress(FileNotFoundError, msgspec.DecodeError):
            socket_folder.remove(
                Path(msgspec.json.decode(self.folder.platform.read_bytes(), type=PlatformInfo).wakeup_folder)
            )
        self.folder.platform.unlink(missing_ok=True)

    def _check_bus(self) -> BusInfo:
        bus = BusInfo("postgres") if self._kafka is None else BusInfo("kafka", bootstrap=self._kafka)
        if self.folder.bus.exists() and (before := self.folder.bus.read_text().strip()) != bus.kind:
            raise WrongBus(
                f"the sagas in {self.folder.root} travel on the {before} bus: "
                f"start with --bus {before}, or choose another folder with --data"
            )
        if bus.bootstrap is not None and not _any_reachable(bus.bootstrap):
            raise BusUnreachable(f"nothing answers at {bus.bootstrap}: is Kafka running there?")
        return bus

    def _choose_ports(self) -> tuple[dict[str, int], dict[str, int]]:
        """Return each process's port, and each service's for operations."""
        drawn = processes.free_ports(len(process_table.NAMES) + len(topics.SERVICES))
        ports = dict(zip(process_table.NAMES, drawn, strict=False))
        ops_ports = dict(zip(topics.SERVICES, drawn[len(ports) :], strict=True))
        if self._gateway_port is not None:
            if not processes.is_free(self._gateway_port):
                raise PortTaken(
                    f"port {self._gateway_port} (the gateway's) is taken: choose another with --port N"
                )
            ports[topics.GATEWAY] = self._gateway_port
        return ports, ops_ports

    def _changed(self, line: str) -> None:
        self._console.write(line)
        try:
            self._write_info()
        except OSError as error:  # a full disk must not end the supervisor
            self._console.write(f"platform.json could not be written: {error}")

    def _write_info(self) -> None:
        with self._writing:
            unfinished = self.folder.platform.with_suffix(".unfinished")
            unfinished.write_bytes(msgspec.json.format(msgspec.json.encode(self.info), indent=2))
            unfinished.rename(self.folder.platform)

    def _end(self, names: Sequence[str], grace_s: float) -> None:
        programs = self._supervisor.programs
        running = [programs[name].process for name in names if name in programs]
        processes.end(running, signal.SIGTERM, grace_s, signal.SIGKILL, self._hurry)

    @property
    def _planned(self) -> process_table.ProcessPlan:
        if self._plan is None:
            raise NotRunning(f"the platform on {self.folder.root} was not started")
        return self._plan


def _any_reachable(bootstrap: str) -> bool:
    for address in bootstrap.split(","):
        host, _, port = address.strip().rpartition(":")
        with suppress(OSError, ValueError):
            socket.create_connection((host.strip("[]"), int(port)), timeout=3.0).close()
            return True
    return False
