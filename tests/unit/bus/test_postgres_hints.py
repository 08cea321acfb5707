"""Hints by datagrams: heard by those concerned, never in the way of those who send them."""

import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.bus.postgres import PostgresBus
from holdfast.bus.postgres_hints import MEMBERS, NEWS, SocketCrier, SocketEar

SOON_S = 20.0


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as path:
        yield Path(path) / "hints"


def listens(ear: SocketEar) -> bool:
    """Say whether something waits to be heard."""
    return bool(ear._poll.poll(0))


def test_a_hint_reaches_the_topics_listeners_only(folder: Path) -> None:
    both, other = SocketEar(folder, ["a", "b"]), SocketEar(folder, ["c"])
    crier = SocketCrier(folder)
    for topic in ("a", "b"):
        crier.cry([topic], NEWS)
        assert (listens(both), listens(other)) == (True, False)
        both.wait(SOON_S)
        assert not listens(both)
        assert not both.members_changed
    crier.cry(["b", "c"], MEMBERS)
    both.wait(SOON_S)
    assert both.members_changed


def test_nobody_there_is_no_error(folder: Path) -> None:
    SocketCrier(folder).cry(["a"], NEWS)
    ear = SocketEar(folder, ["a", "b"])
    ear.close()
    SocketCrier(folder).cry(["a", "b"], NEWS)
    assert not list(folder.iterdir())


def test_the_socket_of_a_killed_listener_is_removed(folder: Path) -> None:
    ear = SocketEar(folder, ["a"])
    ear._socket.close()  # as the kernel does at a kill; the file stays
    assert len(list(folder.iterdir())) == 1
    SocketCrier(folder).cry(["a"], NEWS)
    assert not list(folder.iterdir())


def test_a_listener_that_does_not_listen_holds_nobody_up(folder: Path) -> None:
    ear = SocketEar(folder, ["a"])
    crier = SocketCrier(folder)
    for _ in range(5000):  # more than any socket holds
        crier.cry(["a"], NEWS)
    ear.wake()
    assert ear.woken
    ear.wait(SOON_S)
    assert not listens(ear)


def test_waking_ends_a_wait_from_another_thread(folder: Path) -> None:
    ear = SocketEar(folder, ["a"])
    waiting = threading.Thread(target=ear.wait, args=(3600.0,), daemon=True)
    waiting.start()
    ear.wake()
    waiting.join(SOON_S)
    assert not waiting.is_alive()


def test_waking_a_closed_ear_is_nothing(folder: Path) -> None:
    ear = SocketEar(folder, ["a"])
    ear.close()
    ear.wake()


def test_a_folder_whose_path_is_too_long_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="too long"):
        PostgresBus("", Path("/" + 100 * "x"))
