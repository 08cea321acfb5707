"""librdkafka's log, made bearable."""

import logging
from types import SimpleNamespace

import pytest

from holdfast.bus.kafka import client_log as kafka_log


def test_a_line_is_said_once_in_a_while(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr("holdfast.bus.kafka.client_log.time", SimpleNamespace(monotonic=lambda: now[0]))
    log = kafka_log.client_log("once")
    with caplog.at_level(logging.INFO):
        for moment in (0.0, 1.0, 29.0, 30.0, 31.0):
            now[0] = moment
            log.error("FAIL [holdfast#consumer-%d] refused (after %dms)", int(moment), 7 * int(moment))
            log.info("another line")
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO", "WARNING", "INFO"]
    assert caplog.messages[2] == "FAIL [holdfast#consumer-30] refused (after 210ms)"


def test_what_is_worse_than_an_error_stays_so(caplog: pytest.LogCaptureFixture) -> None:
    kafka_log.client_log("worse").critical("it is on fire")
    assert [record.levelname for record in caplog.records] == ["CRITICAL"]


def test_it_remembers_no_more_than_it_must(caplog: pytest.LogCaptureFixture) -> None:
    log = kafka_log.client_log("many")
    for kind in range(10_000):
        log.warning("x" * (kind % 1000))
    (calm,) = log.filters
    assert isinstance(calm, kafka_log._RepeatFilter)
    assert len(calm._said) <= kafka_log._KINDS_MAX


def test_a_side_has_one_logger() -> None:
    assert kafka_log.client_log("same") is kafka_log.client_log("same")
    assert len(kafka_log.client_log("same").filters) == 1
