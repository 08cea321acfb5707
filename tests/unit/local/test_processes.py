"""Ports, and ending programs."""

import signal
import socket
import subprocess
import sys
from pathlib import Path
from threading import Event

import pytest

from holdfast.local import processes

DEAF = "import signal; signal.signal({number}, signal.SIG_IGN); print(flush=True); signal.pause()"


def program(deaf_to: signal.Signals | None = None) -> subprocess.Popen[bytes]:
    code = DEAF.format(number=int(deaf_to or signal.SIGUSR1))
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    return process


def test_a_port_is_free_until_something_listens_on_it() -> None:
    (port,) = processes.free_ports(1)
    with socket.create_server((processes.HOST, port)):
        assert not processes.is_free(port)
    assert processes.is_free(port)


def test_drawn_ports_differ_and_are_not_those_of_outgoing_connections() -> None:
    ports = processes.free_ports(50)
    assert len(set(ports)) == 50
    assert max(ports) < 32_768


def test_ports_are_drawn_from_the_given_range(monkeypatch: pytest.MonkeyPatch) -> None:
    (port,) = processes.free_ports(1)
    monkeypatch.setenv("HOLDFAST_PORTS", f"{port}-{port}")
    assert processes.free_ports(1) == [port]
    with pytest.raises(processes.LaunchFailed, match=f"no 2 free ports from {port} to {port}"):
        processes.free_ports(2)


@pytest.mark.parametrize("given", ["", "20000", "30000-20000", "80-90", "65000-70000", "a-b"])
def test_a_range_of_ports_that_is_none_is_refused(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOLDFAST_PORTS", given)
    with pytest.raises(processes.LaunchFailed, match="HOLDFAST_PORTS: write FIRST-LAST"):
        processes.free_ports(1)


def test_who_listens_to_the_gentle_signal_is_not_killed() -> None:
    process = program()
    processes.end([process], signal.SIGTERM, 30.0, signal.SIGKILL)
    assert process.returncode == -signal.SIGTERM


def test_who_does_not_is_killed_after_the_grace() -> None:
    listens, deaf = program(), program(deaf_to=signal.SIGTERM)
    processes.end([listens, deaf], signal.SIGTERM, 0.1, signal.SIGKILL)
    assert (listens.returncode, deaf.returncode) == (-signal.SIGTERM, -signal.SIGKILL)


def test_who_is_deaf_to_the_firm_signal_too_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "_FIRM_S", 0.1)
    deaf = program(deaf_to=signal.SIGQUIT)
    processes.end([deaf], signal.SIGQUIT, 0.1, signal.SIGQUIT)
    assert deaf.wait(30.0) == -signal.SIGKILL


def test_in_a_hurry_there_is_no_grace() -> None:
    deaf = program(deaf_to=signal.SIGTERM)
    hurry = Event()
    hurry.set()
    processes.end([deaf], signal.SIGTERM, 3600.0, signal.SIGKILL, hurry)
    assert deaf.returncode == -signal.SIGKILL


def test_a_program_that_cannot_be_started_fails_in_words(tmp_path: Path) -> None:
    with pytest.raises(processes.LaunchFailed, match="/bin/true did not start"):
        processes.start(["/bin/true"], death_signal=signal.SIGKILL, log=tmp_path / "missing" / "log", env={})
