"""Turn this process into another program that dies with the process that started it.

A script that `processes.start` runs by its path: it must start fast, so it imports nothing of ours.
"""

import ctypes
import os
import signal
import sys
from collections.abc import Sequence
from typing import NoReturn

PR_SET_PDEATHSIG = 1


def main(arguments: Sequence[str]) -> NoReturn:
    """Arguments: "signal" or "pipe", the signal's number, the parent's pid, uid, gid (-1: keep), command."""
    how, death_signal, parent, uid, gid, *command = arguments
    if int(uid) >= 0:
        os.setgroups([])
        os.setgid(int(gid))
        os.setuid(int(uid))
    # A shell starts its background commands with some of these ignored, and a program inherits that.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    if how == "signal":
        _die_with_parent(int(death_signal), int(parent))  # after setuid, which would clear it
    else:
        _watch_parent(int(death_signal))
    os.execv(command[0], command)  # noqa: S606 - no shell is what we want


def _die_with_parent(death_signal: int, parent: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, death_signal, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != parent:  # the parent died before the call above
        sys.exit(1)


def _watch_parent(death_signal: int) -> None:
    """Fork a child that signals this process once the pipe on stdin has no writer any more."""
    program = os.getpid()
    if os.fork() == 0:
        while os.read(0, 1):
            pass
        if os.getppid() == program:
            os.kill(program, death_signal)
        os._exit(0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)


if __name__ == "__main__":
    main(sys.argv[1:])
