"""SIGTERM in mid-load: a process finishes what it took, leaves its group and ends with 0, in under 20 s."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from subprocess import Popen
from typing import Any

import httpx2
import psycopg
import pytest
from confluent_kafka.admin import AdminClient
from tests.e2e.conftest import ENVIRONMENT, PENS, replay_histories, running
from tests.e2e.load import UNDER_WAY_MIN, Load, all_ends_well, under_way
from tests.e2e.shopper import Operator, Shopper
from tests.eventually import eventually

from holdfast.contracts.topics import GATEWAY, ORCHESTRATOR, SERVICES
from holdfast.local.platform import Platform
from holdfast.local.process_table import database

STOPPED_WITHIN_S = 20
PLATFORM_STOPPED_WITHIN_S = 15
PATIENT_MIN = 10
"""At least so many sagas are under way when a process is stopped."""


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    with running(tmp_path_factory.mktemp("platform"), "postgres") as platform:
        yield platform


@pytest.mark.timeout(900)
def test_every_process_that_is_told_to_stop_drains(platform: Platform) -> None:
    all_drain(platform, _members)


@pytest.mark.timeout(900)
def test_every_process_on_kafka_that_is_told_to_stop_drains(tmp_path: Path) -> None:
    with running(tmp_path, "kafka") as platform:
        all_drain(platform, _members_on_kafka)


def all_drain(platform: Platform, members_of: Callable[[Platform, str], set[str]]) -> None:
    """Stop one service after the other under load: each ends with 0, and its group is without it at once."""
    load = Load(platform, patient=True)
    try:
        for name in SERVICES:
            eventually(lambda: under_way(platform) >= PATIENT_MIN, "enough sagas are under way", 120)
            members = members_of(platform, name)
            process = _process(platform, name)
            process.send_signal(signal.SIGTERM)
            assert process.wait(STOPPED_WITHIN_S) == 0, name
            assert members
            assert not members & members_of(platform, name), f"{name} has left its group"
            platform.wait_ready(120)
    finally:
        load.stop()
    all_ends_well(platform, load.accepted, 300)


def test_a_process_that_is_killed_while_it_drains_loses_nothing(platform: Platform) -> None:
    load = Load(platform, patient=True)
    try:
        for name in SERVICES:
            eventually(lambda: under_way(platform) >= PATIENT_MIN, "enough sagas are under way", 120)
            process = _process(platform, name)
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(1)
            except subprocess.TimeoutExpired:
                process.kill()
            assert process.wait(10) in (0, -signal.SIGKILL)
            platform.wait_ready(120)
    finally:
        load.stop()
    all_ends_well(platform, load.accepted)


def test_a_second_signal_ends_it_at_once(platform: Platform) -> None:
    """The orchestrator's session is frozen in its database: a drain waits for the answer."""
    process = _process(platform, ORCHESTRATOR)
    with psycopg.connect(platform.postgres.dsn(database(ORCHESTRATOR))) as blocker:
        blocker.execute("lock table saga in access exclusive mode")
        shopper = Shopper(platform.info)
        saga_id = shopper.buy({"pen": 1})
        backends: list[int] = []
        eventually(lambda: _freeze_who_waits(platform, backends), "its transaction waits for the lock")
        try:
            process.send_signal(signal.SIGTERM)
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(2)
            process.send_signal(signal.SIGTERM)
            assert process.wait(5) == 128 + signal.SIGTERM
        finally:
            for backend in backends:
                os.kill(backend, signal.SIGCONT)
    platform.wait_ready(60)
    assert shopper.end_of(saga_id)["state"] == "COMPLETED"


def test_answers_that_are_held_back_are_given_when_the_gateway_stops(platform: Platform) -> None:
    """The orchestrator is frozen, so that no checkout ends; those who wait get the state as it is known."""
    shopper = Shopper(platform.info)
    platform.kill(ORCHESTRATOR, signal.SIGSTOP)
    try:
        saga_ids = [shopper.buy({"pen": 1}) for _ in range(10)]
        with ThreadPoolExecutor(len(saga_ids)) as pool:
            held = [pool.submit(_wait_for, platform, saga_id) for saga_id in saga_ids]
            eventually(lambda: _held(platform) >= len(saga_ids), "all answers are held back")
            process = _process(platform, GATEWAY)
            begun = time.monotonic()
            process.send_signal(signal.SIGTERM)
            answers = [future.result(30) for future in held]
            assert process.wait(STOPPED_WITHIN_S) == 0
        assert time.monotonic() - begun < STOPPED_WITHIN_S
        assert {answer["state"] for answer in answers} == {"CHECKOUT_INITIATED"}
        assert all(answer["stale"] for answer in answers)
    finally:
        platform.kill(ORCHESTRATOR, signal.SIGCONT)
    platform.wait_ready(60)
    assert {shopper.end_of(saga_id)["state"] for saga_id in saga_ids} == {"COMPLETED"}


def test_a_platform_goes_down_under_load_and_comes_back_with_all(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with Platform(data, environment=ENVIRONMENT) as platform:
        platform.wait_ready(90)
        Operator(platform.info).stock(PENS)
        load = Load(platform)
        eventually(lambda: under_way(platform) >= UNDER_WAY_MIN, "enough sagas are under way", 60)
        processes = [_process(platform, name) for name in SERVICES]
        begun = time.monotonic()
        platform.stop()
        assert time.monotonic() - begun < PLATFORM_STOPPED_WITHIN_S
        load.stop()
        assert {process.wait(1) for process in processes} == {0}, "each drained in time"
    with Platform(data, environment=ENVIRONMENT) as platform:
        platform.wait_ready(90)
        all_ends_well(platform, load.accepted)
        replay_histories(platform)


def _process(platform: Platform, name: str) -> Popen[bytes]:
    return platform._supervisor.programs[name].process


def _members(platform: Platform, group: str) -> set[str]:
    with psycopg.connect(platform.postgres.dsn("bus")) as connection:
        rows = connection.execute("select member from members where group_name = %s", [group])
        return {row[0] for row in rows}


def _members_on_kafka(platform: Platform, group: str) -> set[str]:
    admin = AdminClient({"bootstrap.servers": platform.info.bus.bootstrap or ""})
    described = admin.describe_consumer_groups([group], request_timeout=30)[group].result(30)
    return {member.member_id for member in described.members}


def _freeze_who_waits(platform: Platform, backends: list[int]) -> bool:
    """Stop the server's processes that wait for a lock now, and note them; False if there is none."""
    with psycopg.connect(platform.postgres.dsn(database(ORCHESTRATOR))) as connection:
        rows = connection.execute(
            "select pid from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
        ).fetchall()
    for (backend,) in rows:
        os.kill(backend, signal.SIGSTOP)
        backends.append(backend)
    return bool(rows)


def _wait_for(platform: Platform, saga_id: str) -> dict[str, Any]:
    response = Shopper(platform.info).client.get(f"/v1/checkouts/{saga_id}", headers={"Prefer": "wait=30"})
    assert response.status_code == 200, response.text
    answer = response.json()
    assert isinstance(answer, dict)
    return answer


def _held(platform: Platform) -> int:
    text = httpx2.get(f"{platform.info.services[GATEWAY].ops_url}/metrics", trust_env=False).text
    lines = [line for line in text.splitlines() if line.startswith("checkout_answers_held ")]
    return int(float(lines[0].split()[1])) if lines else 0
