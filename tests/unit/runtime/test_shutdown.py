"""How a process ends: by signals, in its time; in processes of their own, because they end."""

import subprocess
import sys
import textwrap

import pytest


def ends(program: str) -> tuple[int, str]:
    """Run a program that knows `Shutdown` and prints; return its exit code and its words."""
    head = "import os, signal, time\nfrom holdfast.runtime.shutdown import Shutdown\n"
    run = subprocess.run(
        [sys.executable, "-c", head + textwrap.dedent(program)],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return run.returncode, run.stdout


@pytest.mark.parametrize("number", [15, 2])
def test_a_first_signal_is_told_and_a_second_one_ends_it_at_once(number: int) -> None:
    code, said = ends(
        f"""
        Shutdown().on_signal(lambda: print("told", flush=True))
        os.kill(os.getpid(), {number})
        os.kill(os.getpid(), {number})
        print("not reached")
        """
    )
    assert (code, said) == (128 + number, "told\n")


def test_who_does_not_end_in_time_is_ended() -> None:
    code, said = ends(
        """
        shutdown = Shutdown(within_s=0.0)
        shutdown.begin()
        print(shutdown.begun.is_set(), shutdown.left_s(5.0), flush=True)
        while True:
            signal.pause()
        """
    )
    assert (code, said.splitlines()[0]) == (1, "True 0.1")


def test_every_part_of_a_stop_gets_what_is_left() -> None:
    code, said = ends(
        """
        shutdown = Shutdown(within_s=3.0)
        print(shutdown.left_s(9.0))
        shutdown.begin()
        print(2.0 < shutdown.left_s(9.0) <= 3.0, shutdown.left_s(0.5))
        """
    )
    assert (code, said) == (0, "3.0\nTrue 0.5\n")
