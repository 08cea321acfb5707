"""`holdfast up`, `status`, `down`: a whole platform on this machine (holdfast.local)."""

import signal
import time
from enum import StrEnum
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli.common import DATA_DEFAULT, Data, ExitCode, Json, fail
from holdfast.cli.terminal import console, note, say, say_json

if TYPE_CHECKING:
    from holdfast.local.info import PlatformInfo, ProcessStatus
    from holdfast.local.platform import Platform

GATEWAY_PORT = 8080
_SAY_AFTER_S = 20.0
_DOWN_PATIENCE_S = 20.0


class BusKind(StrEnum):
    POSTGRES = "postgres"
    KAFKA = "kafka"


def up(
    data: Data = DATA_DEFAULT,
    port: Annotated[
        int, typer.Option("--port", metavar="N", min=1, max=65_535, help="The gateway's.")
    ] = GATEWAY_PORT,
    bus: Annotated[BusKind, typer.Option("--bus", help="What carries the messages.")] = BusKind.POSTGRES,
    kafka: Annotated[
        str | None,
        typer.Option(
            "--kafka", metavar="HOST:PORT", envvar="HOLDFAST_KAFKA_BOOTSTRAP", help="For --bus kafka."
        ),
    ] = None,
) -> None:
    """Start the whole platform on this machine and keep it up until Ctrl-C."""
    if bus is BusKind.KAFKA and not kafka:
        fail(ExitCode.USAGE, "--bus kafka needs a broker: --kafka HOST:PORT")
    from holdfast.local.platform import Platform

    keep_up(Platform(data, gateway_port=port, kafka=kafka if bus is BusKind.KAFKA else None, say=note), data)


def start(platform: "Platform") -> None:
    """Start this platform, or end the command with one line; then nothing of it is left running."""
    from holdfast.local.platform import BusUnreachable, FolderInUse, PortTaken, WrongBus
    from holdfast.local.processes import LaunchFailed

    try:
        platform.start()
    except (FolderInUse, PortTaken, WrongBus) as error:
        fail(ExitCode.CONFLICT, str(error))
    except BusUnreachable as error:
        fail(ExitCode.UNAVAILABLE, str(error))
    except LaunchFailed as error:
        fail(ExitCode.INTERRUPTED if platform.stop_requested else ExitCode.FAILED, str(error))


def keep_up(platform: "Platform", data: Path) -> None:
    """Start this platform, print its addresses, and stop it at the first signal (at the second: at once)."""
    from holdfast.local.platform import NotReady

    _stop_at_signal(platform)
    start(platform)
    try:
        note(f"Started on {data}; waiting until every process is ready ...")
        while not platform.stop_requested:
            try:
                platform.wait_ready(_SAY_AFTER_S)
            except NotReady as error:
                note(f"{error}; the logs are in {platform.folder.logs}")
            else:
                _say_where(platform.info, data)
                platform.wait()
        note("Stopping ...")
    finally:
        platform.stop(keep_folder=True)  # so that `down` waits for this process too
    note("Stopped; nothing is left running.")


def status(data: Data = DATA_DEFAULT, as_json: Json = False) -> None:
    """Show each process of the platform: name, pid, port, ready, restarts. Exit 0 when all are ready."""
    from holdfast.local.info import find, survey
    from holdfast.local.layout import NotRunning

    try:
        processes = survey(find(data))
    except NotRunning as error:
        fail(ExitCode.NOT_FOUND, str(error))
    say_json(processes) if as_json else _print_table(processes)
    raise typer.Exit(ExitCode.DONE if all(each.ready for each in processes) else ExitCode.FAILED)


def down(data: Data = DATA_DEFAULT) -> None:
    """Stop the platform on this data folder, and wait until nothing of it is left."""
    import os

    from holdfast.local.layout import DataFolder, NotOurs, holder

    folder = DataFolder(data)
    try:
        pid = holder(folder)
    except NotOurs as error:
        fail(ExitCode.NOT_FOUND, str(error))
    if pid is None:
        fail(ExitCode.NOT_FOUND, f"no platform is running on {folder.root}")
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + _DOWN_PATIENCE_S
    while holder(folder) == pid:
        if time.monotonic() > deadline:
            fail(ExitCode.FAILED, f"the platform on {folder.root} (pid {pid}) is still stopping")
        time.sleep(0.05)
    note(f"Stopped the platform on {folder.root}.")


def _stop_at_signal(platform: "Platform") -> None:
    """Receive signals on a thread: a handler could interrupt any line, also one that holds a lock."""
    signals = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # not under nohup
        signals.append(signal.SIGHUP)
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)  # every thread made from now on inherits it

    def take() -> None:
        while True:
            signal.sigwait(signals)
            platform.request_stop()

    Thread(target=take, name="signals", daemon=True).start()


def _say_where(info: "PlatformInfo", data: Path) -> None:
    from holdfast.contracts.topics import GATEWAY

    width = max(map(len, info.services))
    here = "" if data == DATA_DEFAULT else f" --data {data}"
    gateway = info.services[GATEWAY].url
    lines = [
        "",
        f"The platform is up. Its public API: {gateway}",
        "",
        *(f"  {name:{width}}  {each.url}  operations {each.ops_url}" for name, each in info.services.items()),
        f"  {'postgres':{width}}  {info.services[GATEWAY].dsn}",
        f"  {'bus':{width}}  {info.bus.dsn or info.bus.bootstrap}",
        f"  {'logs':{width}}  {info.folder.logs}",
        "",
        "Try next, in another terminal:",
        f"  holdfast status{here}",
        f"  holdfast replay FILE{here}",
        f"  holdfast audit{here}",
        f'  curl -H "Authorization: Bearer $(holdfast token --user ada{here})" {gateway}/v1/products',
        "",
        "Ctrl-C stops everything.",
    ]
    say(*lines)


def _print_table(processes: "list[ProcessStatus]") -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table("name", "pid", "port", "ready", "restarts", box=None)
    for each in processes:
        ready = Text("yes", "green") if each.ready else Text("no", "red")
        table.add_row(each.name, str(each.pid), str(each.port), ready, str(each.restarts))
    console().print(table)
