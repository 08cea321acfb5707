"""A consumer in a process of its own, that can be killed and stopped; calls and answers travel over pipes.

    python -m tests.conformance.member

The first frame on stdin is a callable that makes the bus and its arguments, the group and the topics; every
further one is a method's name and its arguments, answered by an outcome and its value.
"""

import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from tests.conformance.harness import Callback

from holdfast.bus.port import Bus, Consumer, NotOwner, RebalanceListener, Record, TopicPartition

Answer = tuple[str, Any]


class MemberProcess:
    """The test's end of the pipes. `make` must be importable by name: `make(*arguments)` returns a Bus."""

    def __init__(
        self, make: Callable[..., Bus], arguments: tuple[Any, ...], group: str, topics: Sequence[str]
    ) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.conformance.member"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[2],
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._to, self._from = self._process.stdin, self._process.stdout
        self._send((make, arguments, group, tuple(topics)))
        self.callbacks()  # its answer says that the process has started, which may take a lease's time

    def poll(self, records_max: int, timeout_s: float) -> list[Record]:
        records: list[Record] = self._call("poll", records_max, timeout_s)
        return records

    def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        self._call("commit", dict(offsets))

    def rewind(self, place: TopicPartition) -> None:
        self._call("rewind", place)

    def assignment(self) -> frozenset[TopicPartition]:
        places: frozenset[TopicPartition] = self._call("assignment")
        return places

    def committed(self, place: TopicPartition) -> int:
        offset: int = self._call("committed", place)
        return offset

    def close(self) -> None:
        self._call("close")
        self.end()

    def callbacks(self) -> list[Callback]:
        heard: list[Callback] = self._call("callbacks")
        return heard

    def kill(self) -> None:
        self.end()

    def end(self) -> None:
        """Kill the process, if it still runs, and wait for its end."""
        self._process.kill()
        self._process.wait(30)
        self._to.close()
        self._from.close()

    def stop(self) -> None:
        self._process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self._process.pid, os.WSTOPPED)

    def cont(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def _call(self, method: str, *arguments: Any) -> Any:
        self._send((method, arguments))
        outcome, value = pickle.load(self._from)
        if outcome == "not_owner":  # pickle would make it anew from its message
            raise NotOwner(value)
        if outcome == "raised":
            raise value
        return value

    def _send(self, frame: object) -> None:
        pickle.dump(frame, self._to)
        self._to.flush()


def serve(calls: BinaryIO, answers: BinaryIO) -> None:
    """Answer calls until the pipe ends."""
    make, arguments, group, topics = pickle.load(calls)
    heard: list[Callback] = []
    assignment = RebalanceListener(
        assigned=lambda places: heard.append(("assigned", places)),
        revoked=lambda places: heard.append(("revoked", places)),
        lost=lambda places: heard.append(("lost", places)),
    )
    consumer = make(*arguments).consumer(group, topics, assignment)
    while True:
        try:
            method, parameters = pickle.load(calls)
        except EOFError:
            return
        pickle.dump(_answer(consumer, heard, method, parameters), answers)
        answers.flush()


def _answer(consumer: Consumer, heard: list[Callback], method: str, parameters: tuple[Any, ...]) -> Answer:
    try:
        return "returned", heard if method == "callbacks" else getattr(consumer, method)(*parameters)
    except NotOwner as error:
        return "not_owner", error.partitions
    except Exception as error:  # noqa: BLE001 - it goes to the test, which raises it there
        return "raised", error


if __name__ == "__main__":
    serve(sys.stdin.buffer, sys.stdout.buffer)
