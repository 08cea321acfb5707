"""Log lines come back: after a reader that stopped or died, a full disk, a descriptor that does not block."""

import errno
import fcntl
import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from tests.eventually import eventually

from holdfast.runtime.log_sink import LogSink, dropped, failures
from holdfast.runtime.telemetry import new_registry

LINES_MAX = 50


def lost_line(lost: int) -> str:
    return f"lost {lost}"


def count(name: str, **labels: str) -> float:
    return registry().get_sample_value(name, labels) or 0.0


def registry() -> CollectorRegistry:
    return new_registry()


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    yield reader, writer
    for descriptor in (reader, writer):
        os.close(descriptor)


def sink(descriptor: int) -> LogSink:
    made = LogSink(descriptor, lost_line, LINES_MAX, retry_s=0.01)
    made._thread.start()
    return made


def fill(target: LogSink, text: str = "x" * 4_000) -> int:
    """Put lines without a pause until some were dropped; return how many were."""
    before = count("log_lines_dropped_total")
    for number in range(LINES_MAX * 4):
        target.put(f"{number} {text}")
    lost = int(count("log_lines_dropped_total") - before)
    assert lost > 0, "nothing waited for the reader, or lines were kept without end"
    return lost


def drained(reader: int, until: Callable[[str], bool]) -> str:
    """Read until the text says so."""
    said = ""
    os.set_blocking(reader, False)

    def read() -> bool:
        nonlocal said
        with suppress(BlockingIOError):
            said += os.read(reader, 1 << 16).decode()
        return until(said)

    eventually(read, "the reader gets its lines")
    return said


def whole(text: str) -> list[str]:
    lines = text.splitlines()
    assert all(line.startswith("lost ") or line.split(" ")[0].isdigit() for line in lines), "a torn line"
    return lines


def test_a_reader_that_stops_holds_nobody_up_and_hears_afterwards_how_many_it_missed(
    pipe: tuple[int, int],
) -> None:
    reader, writer = pipe
    target = sink(writer)
    lost = fill(target)
    said = drained(reader, lambda text: f"lost {lost}\n" in text)
    assert len(whole(said)) >= LINES_MAX
    target.put("1 back")
    assert "1 back" in drained(reader, lambda text: "1 back\n" in text)


def test_a_reader_that_dies_costs_lines_until_there_is_another(tmp_path: Path) -> None:
    """EPIPE: a named pipe may get a new reader."""
    fifo = tmp_path / "log"
    os.mkfifo(fifo)
    first = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    writer = os.open(fifo, os.O_WRONLY)
    target = sink(writer)
    target.put("1 heard")
    assert drained(first, lambda text: "heard\n" in text) == "1 heard\n"
    before = count("log_write_failures_total", errno="EPIPE")
    os.close(first)
    target.put("2 kept")
    eventually(lambda: count("log_write_failures_total", errno="EPIPE") > before, "the write fails")
    lost = fill(target)
    second = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    said = drained(second, lambda text: f"lost {lost}\n" in text)
    assert whole(said)[0] == "2 kept"
    target.put("3 back")
    assert "3 back" in drained(second, lambda text: "3 back\n" in text)
    assert target._thread.is_alive()


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EDQUOT])
def test_a_disk_that_is_full_is_tried_again_until_it_has_room(
    code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ENOSPC, also in the middle of a line: what had room stays, the rest follows it."""
    is_full = threading.Event()
    is_full.set()
    write = os.write

    def full(descriptor: int, data: memoryview) -> int:
        if not is_full.is_set():
            return write(descriptor, data)
        if len(data) > 3:
            return write(descriptor, data[:3])
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "write", full)
    path = tmp_path / "log"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    name = errno.errorcode[code]
    before = count("log_write_failures_total", errno=name)
    target = sink(descriptor)
    target.put("1 line that is cut")
    eventually(lambda: count("log_write_failures_total", errno=name) > before + 1, "it is tried again")
    lost = fill(target)
    is_full.clear()
    eventually(lambda: f"lost {lost}\n" in path.read_text(), "the lines come back")
    assert whole(path.read_text())[0] == "1 line that is cut"
    os.close(descriptor)


def test_a_descriptor_that_does_not_block_loses_no_part_of_a_line(pipe: tuple[int, int]) -> None:
    """EAGAIN: another process that shares our stdout may have set it non-blocking."""
    reader, writer = pipe
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    os.set_blocking(writer, False)
    before = count("log_write_failures_total", errno="EAGAIN")
    target = sink(writer)
    lost = fill(target)
    eventually(lambda: count("log_write_failures_total", errno="EAGAIN") > before, "there is no room")
    said = drained(reader, lambda text: f"lost {lost}\n" in text)
    numbers = [int(line.split(" ")[0]) for line in whole(said) if not line.startswith("lost ")]
    assert numbers == sorted(numbers)
    assert len(numbers) == LINES_MAX * 4 - lost


def test_who_never_reads_keeps_no_process_alive(pipe: tuple[int, int]) -> None:
    target = sink(pipe[1])
    fill(target)
    ended = threading.Thread(target=target.end)
    ended.start()
    ended.join(30)
    assert not ended.is_alive()


def test_what_is_lost_shows_among_the_metrics() -> None:
    names = {metric.name for metric in registry().collect()}
    assert {"log_lines_dropped", "log_write_failures"} <= names
    assert dropped is not failures
    assert json.loads(f'"{lost_line(1)}"') == "lost 1"
