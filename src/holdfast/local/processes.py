"""Starts programs that never outlive the process that started them, and finds ports for them.

No restarting here: that is the supervisor's.
"""

import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from threading import Event
from typing import NamedTuple

from holdfast.local import settings

HOST = "127.0.0.1"
_TETHER = Path(__file__).with_name("die_with_parent.py")
_LINUX = sys.platform == "linux"
_FIRM_S = 3.0
_POLL_S = 0.01


class UserAccount(NamedTuple):
    """The user that a program runs as if this process is root and the program must not be."""

    uid: int
    gid: int


class LaunchFailed(Exception):
    """A program could not be started; the same call may succeed later."""


def start(
    command: Sequence[str],
    *,
    death_signal: signal.Signals,
    log: Path,
    env: Mapping[str, str],
    account: UserAccount | None = None,
    pass_fds: Sequence[int] = (),
    parent_death_signal: bool = _LINUX,
) -> subprocess.Popen[bytes]:
    """Start `command` (absolute path first) in its own session; it gets `death_signal` when we die.

    Linux's kernel sends it. Elsewhere (`parent_death_signal=False`) a watchdog reads a pipe that the
    returned object holds. Raises LaunchFailed.
    """
    how = "signal" if parent_death_signal else "pipe"
    numbers = (int(death_signal), os.getpid(), *(account or (-1, -1)))
    tether = [sys.executable, "-I", "-S", str(_TETHER), how, *map(str, numbers)]

    def spawn() -> subprocess.Popen[bytes]:
        with log.open("ab") as output:
            return subprocess.Popen(  # noqa: S603 - the command is ours
                [*tether, *command],
                stdin=subprocess.DEVNULL if parent_death_signal else subprocess.PIPE,
                stdout=output,
                stderr=output,
                env=dict(env),
                cwd="/",
                pass_fds=pass_fds,
                start_new_session=True,
            )

    try:
        return _keeper(os.getpid()).submit(spawn).result()
    except OSError as error:
        raise LaunchFailed(f"{command[0]} did not start: {error}") from error


@cache
def _keeper(_pid: int) -> ThreadPoolExecutor:
    """One thread that lives as long as this process: to the kernel a child's parent is a thread."""
    return ThreadPoolExecutor(max_workers=1, thread_name_prefix="keeper")


def end(
    programs: Sequence[subprocess.Popen[bytes]],
    gently: signal.Signals,
    grace_s: float,
    firmly: signal.Signals,
    hurry: Event | None = None,
) -> None:
    """End all, side by side, and wait: `gently`, after the grace (or `hurry`) `firmly`, then SIGKILL."""
    hurry = hurry or Event()
    steps = ((gently, 0.0 if hurry.is_set() else grace_s), (firmly, _FIRM_S), (signal.SIGKILL, _FIRM_S))
    for number, patience_s in steps:
        deadline = time.monotonic() + patience_s
        alive = [program for program in programs if program.poll() is None]
        for program in alive:
            program.send_signal(number)
        while any(program.poll() is None for program in alive) and time.monotonic() < deadline:
            if number is gently and hurry.is_set():
                break
            time.sleep(_POLL_S)


def run(
    command: Sequence[str | Path],
    *,
    account: UserAccount | None = None,
    env: Mapping[str, str] | None = None,
    pass_fds: Sequence[int] = (),
) -> subprocess.CompletedProcess[str]:
    """Run `command` to its end as `account`; the result has its exit code and output."""
    return subprocess.run(  # noqa: S603 - the command is ours
        command,
        user=None if account is None else account.uid,
        group=None if account is None else account.gid,
        extra_groups=None if account is None else [],
        env=env,
        pass_fds=pass_fds,
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )


def is_free(port: int) -> bool:
    """Say whether a server could listen on this port of the loopback address now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do: TIME_WAIT is no obstacle
        try:
            probe.bind((HOST, port))
            probe.listen(1)
        except OSError:
            return False
    return True


def free_ports(count: int) -> list[int]:
    """Return ports that nothing listens on, drawn at random, so that parallel runs rarely draw the same.

    Raises LaunchFailed.
    """
    try:
        ports = settings.ports()
    except ValueError as error:
        raise LaunchFailed(str(error)) from error
    found: list[int] = []
    for port in random.sample(ports, len(ports)):
        if len(found) == count:
            break
        if is_free(port):
            found.append(port)
    if len(found) < count:
        raise LaunchFailed(f"no {count} free ports from {ports.start} to {ports.stop - 1}")
    return found
