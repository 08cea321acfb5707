"""Starts programs that never outlive the process that started them, and finds ports for them.

No restarting here: that is the supervisor's.
"""

import os
import random
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

HOST = "127.0.0.1"
# Below the range from which kernels give ports to outgoing connections: such a port could be in use by one
# of those just when a program that died wants it back.
_PORTS = range(20_000, 32_768)
_TETHER = Path(__file__).with_name("tether.py")
_LINUX = sys.platform == "linux"


class Account(NamedTuple):
    """Who a program runs as, when this process is root and the program must not be."""

    uid: int
    gid: int


def start(
    command: Sequence[str],
    *,
    death_signal: signal.Signals,
    log: Path,
    env: Mapping[str, str],
    account: Account | None = None,
    pass_fds: Sequence[int] = (),
    parent_death_signal: bool = _LINUX,
) -> subprocess.Popen[bytes]:
    """Start `command` (absolute path first) in its own session; it gets `death_signal` when its parent dies.

    On Linux the parent is the *thread* that calls this: call it from one that lives as long as the program
    should. Elsewhere (`parent_death_signal=False`) a watchdog reads a pipe that the returned object holds.
    """
    how = "signal" if parent_death_signal else "pipe"
    numbers = (int(death_signal), os.getpid(), *(account or (-1, -1)))
    tether = [sys.executable, "-I", "-S", str(_TETHER), how, *map(str, numbers)]
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


def run(
    command: Sequence[str | Path],
    *,
    account: Account | None = None,
    env: Mapping[str, str] | None = None,
    pass_fds: Sequence[int] = (),
) -> subprocess.CompletedProcess[str]:
    """Run `command` to its end as `account`; its exit code and words are in the result."""
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


def free_port() -> int:
    """Return a port that nothing listens on; drawn by chance, so that neighbours rarely draw the same."""
    for port in random.sample(_PORTS, len(_PORTS)):
        if is_free(port):
            return port
    raise OSError(f"no free port between {_PORTS.start} and {_PORTS.stop - 1}")
