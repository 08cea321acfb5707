"""The description of a running platform in platform.json, and whether its processes are ready.

Every command that finds a platform by its data folder reads it; only platform.py writes it.
"""

import http.client
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import msgspec

from holdfast.local.layout import DataFolder, NotRunning, holder
from holdfast.local.postgres import accepts_connections
from holdfast.local.processes import HOST

POSTGRES = "postgres"


class BusInfo(msgspec.Struct, frozen=True, omit_defaults=True):
    """`dsn` is for reading, `owner_dsn` for an operator who changes the bus. Neither holds a password."""

    kind: Literal["postgres", "kafka"]
    dsn: str | None = None
    owner_dsn: str | None = None
    bootstrap: str | None = None


class PostgresInfo(msgspec.Struct, frozen=True):
    port: int
    pid: int
    restarts: int


class ServiceInfo(msgspec.Struct, frozen=True):
    """One process. `dsn` is for reading its database; None for the provider, which has a ledger file.

    `url` is for its clients, `ops_url` for operators: health, metrics and what needs an operator's token.
    """

    port: int
    url: str
    ops_port: int
    ops_url: str
    dsn: str | None
    pid: int
    restarts: int


class PlatformInfo(msgspec.Struct, frozen=True):
    """platform.json. `pid` is the supervisor's; `wakeup_folder` the folder of the bus's datagram sockets."""

    pid: int
    started_at: str
    data: str
    bus: BusInfo
    wakeup_folder: str
    postgres: PostgresInfo
    services: Mapping[str, ServiceInfo]
    version: int = 1

    @property
    def folder(self) -> DataFolder:
        return DataFolder(Path(self.data))


class ProcessStatus(msgspec.Struct, frozen=True):
    name: str
    pid: int
    port: int
    ready: bool
    restarts: int


def find(data_dir: Path) -> PlatformInfo:
    """Return the platform that runs on this data folder; raises NotRunning."""
    folder = DataFolder(data_dir)
    pid = holder(folder)
    if pid is None:
        raise NotRunning(
            f"no platform is running on {folder.root} (start one: holdfast up --data {data_dir})"
        )
    try:
        return msgspec.json.decode(folder.platform.read_bytes(), type=PlatformInfo)
    except FileNotFoundError:
        raise NotRunning(f"the platform on {folder.root} (pid {pid}) is just starting or stopping") from None


def survey(info: PlatformInfo) -> list[ProcessStatus]:
    """Ask every process whether it is ready; takes at most two seconds, however many hang."""
    with ThreadPoolExecutor(len(info.services) + 1) as pool:
        postgres_ready = pool.submit(accepts_connections, info.postgres.port)
        services_ready = {
            name: pool.submit(answers_ready, each.ops_port) for name, each in info.services.items()
        }
    server = info.postgres
    return [
        ProcessStatus(POSTGRES, server.pid, server.port, postgres_ready.result(), server.restarts),
        *(
            ProcessStatus(name, each.pid, each.port, services_ready[name].result(), each.restarts)
            for name, each in info.services.items()
        ),
    ]


def answers_ready(port: int) -> bool:
    """Tell whether the process with this operations port answers 200 to /readyz within two seconds."""
    connection = http.client.HTTPConnection(HOST, port, timeout=2.0)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
