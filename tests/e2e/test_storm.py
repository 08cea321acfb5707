"""Real orders at 50 a second through a storm: processes killed, Kafka off, PostgreSQL stopped dead."""

import itertools
import json
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random

import psycopg
import pytest
from tests.e2e.conftest import replay_histories
from tests.eventually import eventually

from holdfast import audit
from holdfast.contracts.topics import ORCHESTRATOR
from holdfast.local.kafka import LocalKafka
from holdfast.local.platform import Platform
from holdfast.local.process_table import NAMES, database

SAMPLE = Path(audit.__file__).parents[1] / "local" / "sample" / "online_retail.csv.gz"
KILL_EVERY_S = 3.0
KILLING_S = 300.0
KAFKA_OFF_S = 60.0
ENDED_WITHIN_S = 120.0


@pytest.fixture
def kafka(tmp_path: Path) -> Iterator[LocalKafka]:
    with LocalKafka(tmp_path / "kafka") as kafka:
        yield kafka


@pytest.fixture
def platform(tmp_path: Path, kafka: LocalKafka) -> Iterator[Platform]:
    with Platform(tmp_path / "data", kafka=kafka.bootstrap) as platform:
        platform.wait_ready(120)
        yield platform


class Replays:
    """`holdfast replay` of the sample at 50 a second, one run after the other until told to stop."""

    def __init__(self, data: str) -> None:
        self._data = data
        self._enough = threading.Event()
        self.states: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()
        self._pool = ThreadPoolExecutor(1)
        self._going_on = self._pool.submit(self._go_on)

    def finish(self) -> None:
        """Return when the run that is under way has ended."""
        self._enough.set()
        self._pool.shutdown()
        self._going_on.result()

    def _go_on(self) -> None:
        for number in itertools.count():
            command = [sys.executable, "-m", "holdfast.cli.main", "replay", str(SAMPLE), "--data", self._data]
            options = ["--rate", "50", "--run", f"storm-{number}", "--patience", "600", "--json"]
            run = subprocess.run([*command, *options], check=False, capture_output=True, text=True)
            assert run.stdout, run.stderr[-2000:]
            figures = json.loads(run.stdout.splitlines()[-1])
            self.states.update(figures["states"])
            self.reasons.update(figures["reasons"])
            if self._enough.is_set():
                return


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_nothing_is_lost_in_a_storm(platform: Platform, kafka: LocalKafka) -> None:
    seed = time.time_ns()
    print(f"kills are drawn from seed {seed}")  # noqa: T201 - pytest shows it when the test fails
    rng, calm = Random(seed), threading.Event()
    replays = Replays(platform.info.data)
    try:
        killing_ends, kills = time.monotonic() + KILLING_S, 0
        while time.monotonic() < killing_ends:
            platform.kill(rng.choice(NAMES))
            kills += 1
            calm.wait(KILL_EVERY_S)
        kafka.kill()
        calm.wait(KAFKA_OFF_S)
        kafka.restart()
        server = platform.info.postgres.pid
        platform.kill("postgres", signal.SIGQUIT)  # what `pg_ctl stop -m immediate` sends
        eventually(lambda: platform.info.postgres.pid != server, "PostgreSQL is started again", 60)
        last_fault = time.monotonic()
        platform.wait_ready(60)
    finally:
        replays.finish()
    left_s = ENDED_WITHIN_S - (time.monotonic() - last_fault)
    eventually(
        lambda: _under_way(platform) == 0, "every saga ends within two minutes of the last fault", left_s
    )
    assert kills > KILLING_S / KILL_EVERY_S / 2
    assert set(replays.states) == {"COMPLETED"}, (replays.states, replays.reasons)
    report = audit.run(Path(platform.info.data), 90)
    assert report.exit_code == 0, (report.quiet, [str(violation) for violation in report.violations])
    replay_histories(platform)


def _under_way(platform: Platform) -> int:
    statement = "select count(*) from saga where state not in ('COMPLETED', 'FAILED')"
    with psycopg.connect(platform.postgres.dsn(database(ORCHESTRATOR))) as connection:
        row = connection.execute(statement).fetchone()
    assert row is not None
    return int(row[0])
