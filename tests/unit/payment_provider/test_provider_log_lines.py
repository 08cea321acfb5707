"""The provider's log lines: no caller waits for their reader, they resume, and losses are reported."""

import errno
import json
import os
from contextlib import suppress
from pathlib import Path

import pytest
from tests.eventually import eventually

from holdfast.payment_provider.log_lines import LogLines


def started(descriptor: int) -> LogLines:
    lines = LogLines(descriptor, lines_max=50, retry_s=0.01)
    lines._thread.start()
    return lines


def read_until(reader: int, word: str) -> list[str]:
    said = ""
    os.set_blocking(reader, False)

    def there() -> bool:
        nonlocal said
        with suppress(BlockingIOError):
            said += os.read(reader, 1 << 16).decode()
        return word in said

    eventually(there, f"{word} is read")
    return said.splitlines()


@pytest.mark.parametrize("blocking", [True, False], ids=["a pipe that blocks", "EAGAIN"])
def test_a_reader_that_stops_delays_nobody_and_hears_how_many_he_missed(blocking: bool) -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, blocking)
    lines = started(writer)
    for number in range(300):
        lines.write(f"{number} {'x' * 4_000}\n")
    assert lines.dropped > 0
    said = read_until(reader, "log_lines_lost")
    assert json.loads(said[-1])["lines"] == lines.dropped
    assert all(line.endswith("x") for line in said[:-1]), "no line is torn"
    lines.write("back\n")
    assert read_until(reader, "back") == ["back"]
    lines.end()
    os.close(reader)
    os.close(writer)


def test_a_reader_that_dies_is_followed_by_the_next_one(tmp_path: Path) -> None:
    fifo = tmp_path / "log"
    os.mkfifo(fifo)
    first = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    writer = os.open(fifo, os.O_WRONLY)
    lines = started(writer)
    os.close(first)
    lines.write("1 kept\n")
    second = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    lines.write("2 heard\n")
    assert read_until(second, "heard") == ["1 kept", "2 heard"]
    lines.end()
    for descriptor in (second, writer):
        os.close(descriptor)


def test_a_full_disk_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write, tried = os.write, list[int]()

    def full_for_a_while(descriptor: int, data: memoryview) -> int:
        tried.append(len(data))
        if len(tried) < 4:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(descriptor, data)

    monkeypatch.setattr(os, "write", full_for_a_while)
    path = tmp_path / "log"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)
    lines = started(descriptor)
    lines.write("1 kept\n")
    eventually(lambda: path.read_text() == "1 kept\n", "the line is there once there is room")
    lines.end()
    os.close(descriptor)
