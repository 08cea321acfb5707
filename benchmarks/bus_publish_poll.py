"""What the PostgreSQL bus costs: throughput and CPU by batch size, latency of one message, an idle consumer.

    python -m benchmarks.bus_publish_poll [--messages 50000] [--gc-threshold 50000]

On an embedded server in a temporary folder, fsync on; one publisher, one consumer; 400-byte values.
"""

import argparse
import gc
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from uuid import uuid4

import psycopg

from holdfast.bus.access import Access, AccessTable
from holdfast.bus.port import Consumer, Message, Record, TopicPartition
from holdfast.bus.postgres import schema as postgres_schema
from holdfast.bus.postgres.bus import PostgresBus
from holdfast.local.postgres import EmbeddedPostgres

PARTITIONS = 4
VALUE = (
    b'{"saga_id":"0197abcd-89ab-7cde-8f01-23456789abcd","lines":[' + 20 * b'{"sku":"85123A","quantity":6},'
)[:400]
DATABASE = "bus"
ROLE = "bench"
IDLE_S = 15.0
PAUSE_S = 0.01


class Bench:
    """A bus in a database, and how much CPU its server has used."""

    def __init__(self, server: EmbeddedPostgres, wakeup_folder: Path | None) -> None:
        self._dsn, self._wakeup_folder = server.dsn(DATABASE, ROLE), wakeup_folder
        self.topic = f"bench.{uuid4().hex[:8]}"
        access = (Access(ROLE, ROLE, self.topic),)
        postgres_schema.set_up(server.dsn(DATABASE), [self.topic], PARTITIONS, AccessTable(access, access))
        with psycopg.connect(self._dsn) as session:
            self._postmaster = _stat(session.info.backend_pid)[1]

    def bus(self) -> PostgresBus:
        return PostgresBus(self._dsn, self._wakeup_folder)

    def consumer(self) -> Consumer:
        consumer = self.bus().consumer(ROLE, [self.topic])
        while len(consumer.assignment()) < PARTITIONS:
            consumer.poll(1, 0.0)
        return consumer

    def server_cpu_s(self) -> float:
        """Return what the server's living processes have used; sessions must be open before and after."""
        ticks = 0
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                fields = _stat(int(folder.name))
            except FileNotFoundError:
                continue  # has just ended
            if fields[1] == self._postmaster:
                ticks += int(fields[11]) + int(fields[12])
        return ticks / 100


def _stat(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat that follow the program's name: state, parent, ..."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def make_messages(topic: str, count: int) -> list[Message]:
    return [_message(topic, str(uuid4()), VALUE) for _ in range(count)]


def _message(topic: str, key: str, value: bytes) -> Message:
    headers = (
        ("ce_specversion", b"1.0"),
        ("content-type", b"application/json"),
        ("ce_id", f"{key}:inventory:do".encode()),
        ("ce_type", b"ReserveInventory"),
        ("ce_source", b"checkout-orchestrator"),
        ("ce_dataschema", b"ReserveInventory/1"),
        ("ce_sagaid", key.encode()),
    )
    return Message(topic, key.encode(), value, headers)


def offsets(records: Sequence[Record]) -> dict[TopicPartition, int]:
    return {record.place: record.offset + 1 for record in records}


def throughput(bench: Bench, batch: int, count: int) -> str:
    """Publish, poll and commit in turn, so that the CPU of each is known."""
    publisher, consumer = bench.bus().publisher(), bench.consumer()
    publisher.publish(make_messages(bench.topic, 1))
    consumer.commit(offsets(consumer.poll(1, 1.0)))
    spent = {"publish": 0.0, "poll": 0.0, "commit": 0.0}
    server, start, read = bench.server_cpu_s(), time.perf_counter(), 0
    for _ in range(count // batch):
        messages = make_messages(bench.topic, batch)
        with cpu(spent, "publish"):
            publisher.publish(messages)
        with cpu(spent, "poll"):
            records = consumer.poll(batch, 1.0)
        read += len(records)
        with cpu(spent, "commit"):
            consumer.commit(offsets(records))
    wall, server = time.perf_counter() - start, bench.server_cpu_s() - server
    consumer.close()
    publisher.close()
    spent |= {"= Python": sum(spent.values()), "server": server}
    each = "   ".join(f"{name} {1e6 * s / read:6.1f}" for name, s in spent.items())
    return f"batch {batch:4}   {read / wall:8,.0f}/s   us CPU a message: {each}"


@contextmanager
def cpu(spent: dict[str, float], name: str) -> Iterator[None]:
    before = time.thread_time()
    yield
    spent[name] += time.thread_time() - before


def latency(bench: Bench, count: int) -> str:
    """Publish one message at a time here; it says when, and is read in another process."""
    here, there = multiprocessing.Pipe()
    process = multiprocessing.Process(target=_measure, args=(bench, there, count))
    process.start()
    here.recv()
    publisher = bench.bus().publisher()
    for _ in range(count):
        time.sleep(PAUSE_S)
        now = time.monotonic_ns()
        publisher.publish([_message(bench.topic, str(uuid4()), str(now).encode())])
    took = sorted(here.recv())
    process.join()
    p50, p99 = statistics.median(took), took[int(len(took) * 0.99)]
    return f"latency publish to polled: p50 {p50:.2f} ms   p99 {p99:.2f} ms"


def _measure(bench: Bench, pipe: Connection, count: int) -> None:
    consumer = bench.consumer()
    pipe.send("ready")
    took: list[float] = []
    while len(took) < count:
        records = consumer.poll(500, 5.0)
        now = time.monotonic_ns()
        took += [(now - int(record.value or b"")) / 1e6 for record in records]
        consumer.commit(offsets(records))
    consumer.close()
    pipe.send(took)


def idle(bench: Bench) -> str:
    consumer = bench.consumer()
    server, spent, end = bench.server_cpu_s(), time.process_time(), time.monotonic() + IDLE_S
    while time.monotonic() < end:
        consumer.poll(500, 1.0)
    spent, server = time.process_time() - spent, bench.server_cpu_s() - server
    consumer.close()
    per_s = f"Python {1000 * spent / IDLE_S:.2f}   server {1000 * server / IDLE_S:.2f}"
    return f"idle consumer, ms CPU a second: {per_s}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=50_000)
    parser.add_argument("--gc-threshold", type=int, default=700, help="the collector's, as a service sets it")
    arguments = parser.parse_args()
    gc.freeze()
    gc.set_threshold(arguments.gc_threshold)
    count: int = arguments.messages
    with (
        tempfile.TemporaryDirectory() as folder,
        tempfile.TemporaryDirectory() as wakeup_folder,
        EmbeddedPostgres(Path(folder) / "cluster") as server,
    ):
        server.ensure_roles([ROLE])
        server.ensure_database(DATABASE)
        for name, chosen in (("datagrams", Path(wakeup_folder)), ("LISTEN/NOTIFY", None)):
            print(f"-- wake-ups by {name}")
            for batch in (500, 100, 10, 1):
                print(throughput(Bench(server, chosen), batch, min(count, batch * 1000)), flush=True)
            print(latency(Bench(server, chosen), 500), flush=True)
            print(idle(Bench(server, chosen)), flush=True)


if __name__ == "__main__":
    main()
