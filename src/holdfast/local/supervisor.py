"""Keeps programs running: starts again what ended, with growing delays while it keeps ending.

platform.py decides which programs there are, and in what order they stop.
"""

import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from threading import Event, Thread

DELAY_MIN_S = 0.2
DELAY_MAX_S = 5.0
HEALTHY_AFTER_S = 30.0
_CHECK_EVERY_S = 0.05


@dataclass
class Program:
    """A program that should run. `restarts` counts how often it was started again."""

    name: str
    launch: Callable[[], subprocess.Popen[bytes]]
    process: subprocess.Popen[bytes]
    started_at: float
    restarts: int = 0
    delay_s: float = DELAY_MIN_S
    due_at: float | None = None  # set while it waits to be started again


class Supervisor:
    """Watches programs from a thread of its own, from the first `run` until `leave`.

    `changed` is called on that thread after every end and every start, with one line for people.
    """

    def __init__(self, changed: Callable[[str], None]) -> None:
        self.programs: dict[str, Program] = {}
        self._changed = changed
        self._left = Event()
        self._thread = Thread(target=self._watch, name="supervisor", daemon=True)

    def run(self, name: str, launch: Callable[[], subprocess.Popen[bytes]]) -> None:
        """Start this program now, in the caller's thread (raises LaunchFailed), and keep it running."""
        self.adopt(name, launch, launch())

    def adopt(
        self, name: str, launch: Callable[[], subprocess.Popen[bytes]], process: subprocess.Popen[bytes]
    ) -> None:
        """Keep a program running that was started already."""
        self.programs[name] = Program(name, launch, process, time.monotonic())

    def watch(self) -> None:
        """Begin to watch, and to start again what ends."""
        self._thread.start()

    def leave(self) -> None:
        """Stop watching: nothing is started again; what runs goes on."""
        self._left.set()
        if self._thread.is_alive():
            self._thread.join()

    def _watch(self) -> None:
        while not self._left.wait(_CHECK_EVERY_S):
            for program in list(self.programs.values()):
                self._check(program, time.monotonic())

    def _check(self, program: Program, now: float) -> None:
        if program.due_at is None:
            code = program.process.poll()
            if code is not None:
                self._schedule(program, now, _words(code))
        elif now >= program.due_at:
            self._start_again(program, now)

    def _schedule(self, program: Program, now: float, what: str) -> None:
        if now - program.started_at >= HEALTHY_AFTER_S:
            program.delay_s = DELAY_MIN_S
        program.due_at = now + program.delay_s
        self._changed(f"{program.name} {what}; it is started again in {program.delay_s:.1f} s")
        program.delay_s = min(2 * program.delay_s, DELAY_MAX_S)

    def _start_again(self, program: Program, now: float) -> None:
        program.restarts += 1
        program.started_at = now
        try:
            program.process = program.launch()
        except Exception as error:  # noqa: BLE001 - it is reported and tried again; the others are still watched
            self._schedule(program, now, f"could not be started ({error})")
            return
        program.due_at = None
        self._changed(f"{program.name} was started again (pid {program.process.pid})")


def _words(code: int) -> str:
    return f"ended with exit code {code}" if code >= 0 else f"was killed by signal {-code}"
