"""Starting again: how long it waits, what it counts, when it forgives."""

from subprocess import Popen
from typing import cast

from holdfast.local.processes import LaunchFailed
from holdfast.local.supervisor import Program, Supervisor


class FakeProcess:
    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.exit_code: int | None = None

    def poll(self) -> int | None:
        return self.exit_code


class World:
    """One supervised program whose ends and failing starts the test decides; time is the test's too."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.started: list[FakeProcess] = []
        self.refuse_start = False
        self.supervisor = Supervisor(self.lines.append)
        self.supervisor.programs["it"] = Program("it", self._launch, self._launch(), started_at=0.0)

    def _launch(self) -> Popen[bytes]:
        if self.refuse_start:
            raise LaunchFailed("no room")
        self.started.append(FakeProcess(pid=len(self.started) + 1))
        return cast("Popen[bytes]", self.started[-1])

    @property
    def program(self) -> Program:
        return self.supervisor.programs["it"]

    def tend(self, now: float) -> None:
        self.supervisor._check(self.program, now)

    def end_and_measure(self, now: float) -> float:
        """End the program at `now`; return how long it takes until it is started again."""
        starts = len(self.started)
        self.started[-1].exit_code = 1
        self.tend(now)
        tick = 0
        while len(self.started) == starts:
            tick += 1
            self.tend(now + tick / 100)
        return tick / 100


def test_a_living_program_is_left_alone() -> None:
    world = World()
    world.tend(1.0)
    world.tend(1000.0)
    assert len(world.started) == 1
    assert world.program.restarts == 0


def test_the_wait_doubles_up_to_five_seconds_and_every_start_counts() -> None:
    world = World()
    now, waits = 1.0, []
    for _ in range(7):
        waits.append(world.end_and_measure(now))
        now += waits[-1] + 0.1
    assert waits == [0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]
    assert world.program.restarts == 7


def test_thirty_seconds_of_life_are_forgiven() -> None:
    world = World()
    now = 1.0
    for _ in range(4):
        now += world.end_and_measure(now) + 0.1
    assert world.end_and_measure(now + 29.5) == 3.2
    assert world.end_and_measure(now + 29.5 + 3.2 + 30.1) == 0.2
    assert world.program.restarts == 6


def test_a_start_that_fails_is_tried_again_as_slowly() -> None:
    world = World()
    world.refuse_start = True
    world.started[-1].exit_code = -9
    world.tend(1.0)
    world.tend(1.2)
    world.tend(1.5)
    assert world.program.restarts == 1
    world.refuse_start = False
    world.tend(1.6)
    assert world.program.restarts == 2
    assert world.program.process.pid == 2
    assert world.lines == [
        "it was killed by signal 9; it is started again in 0.2 s",
        "it could not be started (no room); it is started again in 0.4 s",
        "it was started again (pid 2)",
    ]


def test_whatever_keeps_a_program_from_starting_it_is_tried_again() -> None:
    world = World()
    world.started[-1].exit_code = 1
    launch, world.program.launch = world.program.launch, _no_thread
    for second in (10.0, 20.0):
        world.tend(second)
    assert "could not be started (can't start new thread)" in world.lines[-1]
    world.program.launch = launch
    world.tend(40.0)
    assert len(world.started) == 2


def _no_thread() -> Popen[bytes]:
    raise RuntimeError("can't start new thread")
