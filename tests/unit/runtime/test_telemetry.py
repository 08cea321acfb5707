"""Log lines as a process writes them; in a process of their own, because logs are set up once a process."""

import json
import subprocess
import sys
import textwrap
from typing import Any

from tests.unit.runtime.test_redaction import CARD, SAGA

HEAD = """
import logging, signal, sys, threading
import structlog
from holdfast.runtime.telemetry import configure_logs
configure_logs("order-create", "order-1", "1.2.3", "info")
log = structlog.get_logger("here")
"""


def lines_of(program: str, count: int) -> list[dict[str, Any]]:
    """Return the first log lines of a program."""
    text = HEAD + textwrap.dedent(program) + "\nsignal.pause()\n"
    with subprocess.Popen([sys.executable, "-c", text], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = [process.stdout.readline() for _ in range(count)]
        process.kill()
    return [json.loads(line) for line in said]


def test_a_line_is_json_and_says_who_when_and_which_saga() -> None:
    [line] = lines_of(
        f"log.debug('not this'); log.warning('saga_stalled', saga_id={SAGA!r}, step='payment')", 1
    )
    assert line.pop("ts").endswith("Z")
    assert line == {
        "event": "saga_stalled",
        "level": "warning",
        "saga_id": SAGA,
        "step": "payment",
        "service": "order-create",
        "instance": "order-1",
        "version": "1.2.3",
    }


def test_no_card_number_and_no_secret_gets_into_a_line_whichever_way_it_takes() -> None:
    lines = lines_of(
        f"""
        canary = "card\\n{CARD} and sk_test_canary"
        def fail():
            raise ValueError(canary)
        log.info("said", text=canary, number={CARD}, deep=[{{"a": canary}}], other=ValueError(canary))
        try:
            fail()
        except ValueError:
            log.exception("caught")
            logging.getLogger("library").exception("also %s", canary)
        threading.Thread(target=fail, name="sick").start()
        """,
        4,
    )
    assert [line["event"] for line in lines] == ["said", "caught", "library_message", "thread_died"]
    assert all("Traceback" in line["exception"] for line in lines[1:])
    assert lines[3]["thread"] == "sick"
    text = json.dumps(lines)
    assert CARD not in text
    assert "canary and" not in text
    assert "sk_test" not in text


def test_what_ends_the_process_is_told_without_them_too() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", HEAD + f"raise ValueError('card {CARD} and sk_test_canary')"],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode == 1
    assert f"ValueError: card {'*' * 16} and ***" in ended.stderr.splitlines()
    assert CARD not in ended.stderr


def test_the_last_lines_of_a_process_that_ends_are_written() -> None:
    text = HEAD + "for number in range(2_000):\n    log.info('line', number=number)\n"
    ended = subprocess.run([sys.executable, "-c", text], check=True, capture_output=True, text=True)
    assert [json.loads(line)["number"] for line in ended.stdout.splitlines()] == list(range(2_000))


def test_a_reader_who_reads_no_more_keeps_no_process_alive() -> None:
    text = HEAD + "for number in range(20_000):\n    log.info('x' * 100)\n"
    with subprocess.Popen([sys.executable, "-c", text], stdout=subprocess.PIPE) as process:
        assert process.wait(60) == 0


def test_a_share_of_the_sagas_tells_its_begin_and_its_end_and_all_else_is_told() -> None:
    head = HEAD.replace('"info")', '"info", 0.5)')
    assert head != HEAD
    text = head + textwrap.dedent(
        """
        for number in range(200):
            log.info("checkout_accepted", saga_id=str(number))
            log.info("saga_ended", saga_id=str(number))
            log.info("saga_refused", saga_id=str(number))
        """
    )
    ended = subprocess.run([sys.executable, "-c", text], check=True, capture_output=True, text=True)
    lines = [json.loads(line) for line in ended.stdout.splitlines()]
    of = {
        event: [line["saga_id"] for line in lines if line["event"] == event]
        for event in ("checkout_accepted", "saga_ended", "saga_refused")
    }
    assert of["checkout_accepted"] == of["saga_ended"]
    assert 50 < len(of["saga_ended"]) < 150
    assert len(of["saga_refused"]) == 200
