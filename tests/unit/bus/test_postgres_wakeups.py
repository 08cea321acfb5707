"""Wake-ups by datagrams: heard by those concerned, never in the way of those who send them."""

import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.bus.postgres.bus import PostgresBus
from holdfast.bus.postgres.wakeups import MEMBERS, MESSAGES_AVAILABLE, SocketListener, WakeupSender

SOON_S = 20.0


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as path:
        yield Path(path) / "wakeups"


def listens(ear: SocketListener) -> bool:
    """Say whether something waits to be heard."""
    return bool(ear._poll.poll(0))


def test_a_hint_reaches_the_topics_listeners_only(folder: Path) -> None:
    both, other = SocketListener(folder, ["a", "b"]), SocketListener(folder, ["c"])
    crier = WakeupSender(folder)
    for topic in ("a", "b"):
        crier.notify([topic], MESSAGES_AVAILABLE)
        assert (listens(both), listens(other)) == (True, False)
        both.wait(SOON_S)
        assert not listens(both)
        assert not both.members_changed
    crier.notify(["b", "c"], MEMBERS)
    both.wait(SOON_S)
    assert both.members_changed


def test_a_wakeup_without_listeners_is_no_error(folder: Path) -> None:
    WakeupSender(folder).notify(["a"], MESSAGES_AVAILABLE)
    ear = SocketListener(folder, ["a", "b"])
    ear.close()
    WakeupSender(folder).notify(["a", "b"], MESSAGES_AVAILABLE)
    assert not list(folder.iterdir())


def test_the_socket_of_a_killed_listener_is_removed(folder: Path) -> None:
    ear = SocketListener(folder, ["a"])
    ear._socket.close()  # as the kernel does at a kill; the file stays
    assert len(list(folder.iterdir())) == 1
    WakeupSender(folder).notify(["a"], MESSAGES_AVAILABLE)
    assert not list(folder.iterdir())


def test_a_listener_that_does_not_listen_holds_nobody_up(folder: Path) -> None:
    ear = SocketListener(folder, ["a"])
    crier = WakeupSender(folder)
    for _ in range(5000):  # more than any socket holds
        crier.notify(["a"], MESSAGES_AVAILABLE)
    ear.wake()
    assert ear.woken
    ear.wait(SOON_S)
    assert not listens(ear)


def test_waking_ends_a_wait_from_another_thread(folder: Path) -> None:
    ear = SocketListener(folder, ["a"])
    waiting = threading.Thread(target=ear.wait, args=(3600.0,), daemon=True)
    waiting.start()
    ear.wake()
    waiting.join(SOON_S)
    assert not waiting.is_alive()


def test_waking_a_closed_ear_is_nothing(folder: Path) -> None:
    ear = SocketListener(folder, ["a"])
    ear.close()
    ear.wake()


def test_a_folder_whose_path_is_too_long_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="too long"):
        PostgresBus("", Path("/" + 100 * "x"))
