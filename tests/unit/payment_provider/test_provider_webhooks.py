"""Webhooks: signed over the raw body, at least once, retried with backoff, with scripted faults."""

import asyncio
import hmac
import json
import sqlite3
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tests.unit.payment_provider.books import Books, body

from holdfast.payment_provider import webhooks as webhooks_module
from holdfast.payment_provider.fault_rules import FaultRules
from holdfast.payment_provider.faults import Duplicate, Fault, Hold
from holdfast.payment_provider.ledger import Reader, StoredEvent, wall_ms
from holdfast.payment_provider.webhooks import Webhooks, backoff_ms, opposite, sign
from holdfast.payment_provider.writer import Writer

SECRET = "whsec_test"


@pytest.fixture
def books(tmp_path: Path) -> Books:
    books = Books(tmp_path / "ledger.sqlite", keeps_events=True)
    books.now_ms = wall_ms()
    return books


class Listener:
    """Who receives the webhooks; `statuses` are its first answers, 200 all others."""

    def __init__(self, *statuses: int | None) -> None:
        self.statuses = list(statuses)
        self.requests: list[httpx2.Request] = []

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.requests.append(request)
        status = self.statuses.pop(0) if self.statuses else 200
        if status is None:
            raise httpx2.ConnectError("refused")
        return httpx2.Response(status)

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(request.content) for request in self.requests]

    @property
    def kinds(self) -> list[str]:
        return [event["type"] for event in self.events]


def deliver(books: Books, listener: Listener, until: Callable[[], bool], *rules: Fault) -> list[str]:
    """Sends until the condition holds; the outcomes that were counted."""
    outcomes: list[str] = []
    fault_rules = FaultRules()
    fault_rules.replace(rules)

    async def play() -> None:
        writer = Writer(books.ledger)
        writer.start()
        reader = Reader(books.path)
        hooks = Webhooks(
            "http://listener/hooks",
            SECRET,
            reader=reader,
            writer=writer,
            fault_rules=fault_rules,
            retry_ms=1,
            on_sent=outcomes.append,
            transport=httpx2.MockTransport(listener),
        )
        sender = asyncio.create_task(hooks.run())
        async with asyncio.timeout(20):
            while not until():
                assert not sender.done(), sender.exception()
                hooks.wake()
                await asyncio.sleep(0)
        sender.cancel()
        await asyncio.gather(sender, return_exceptions=True)
        await writer.stop()
        reader.close()

    asyncio.run(play())
    return outcomes


def all_sent(books: Books) -> Callable[[], bool]:
    return lambda: books.sql("select count(*) from events") == [(0,)]


def test_each_effect_tells_its_event(books: Books) -> None:
    intent = body(books.charge())
    books.charge("pm_card_chargeDeclined", key="declined")
    books.refund(intent["latest_charge"])
    listener = Listener()
    assert deliver(books, listener, all_sent(books)) == ["delivered"] * 3
    by_kind = {event["type"]: event for event in listener.events}
    assert set(by_kind) == {"payment_intent.succeeded", "payment_intent.payment_failed", "charge.refunded"}
    succeeded = by_kind["payment_intent.succeeded"]
    assert succeeded["object"] == "event"
    assert succeeded["data"]["object"] == intent
    assert succeeded["request"]["idempotency_key"] == "do"
    assert by_kind["charge.refunded"]["data"]["object"]["amount_refunded"] == 1000


def test_an_event_is_signed_over_its_raw_body(books: Books) -> None:
    books.charge()
    listener = Listener()
    deliver(books, listener, all_sent(books))
    (request,) = listener.requests
    fields = dict(part.split("=", 1) for part in request.headers["Stripe-Signature"].split(","))
    expected = hmac.new(SECRET.encode(), f"{fields['t']}.".encode() + request.content, sha256).hexdigest()
    assert fields["v1"] == expected
    assert abs(int(fields["t"]) * 1000 - wall_ms()) < 60_000
    assert request.headers["Content-Type"] == "application/json"


def test_a_known_signature() -> None:
    digest = hmac.new(b"whsec_test", b'12345.{"id":1}', "sha256").hexdigest()
    assert sign("whsec_test", b'{"id":1}', 12345) == f"t=12345,v1={digest}"


def test_no_event_without_an_effect_that_lasts(books: Books) -> None:
    books.ledger.begin()
    books.ledger.add_event(b"{}", subject="k", payment_method="pm", script="")
    books.ledger.rollback()
    assert books.sql("select count(*) from events") == [(0,)]


def test_without_a_listener_no_events_are_kept(tmp_path: Path) -> None:
    books = Books(tmp_path / "quiet.sqlite")
    books.charge()
    assert books.sql("select count(*) from events") == [(0,)]


def test_what_was_not_taken_is_sent_again_the_same(books: Books) -> None:
    books.charge()
    listener = Listener(500, None, 302)
    outcomes = deliver(books, listener, all_sent(books))
    assert outcomes == ["refused", "failed", "refused", "delivered"]
    assert len({request.content for request in listener.requests}) == 1


def test_backoff_doubles_up_to_an_hour() -> None:
    assert [backoff_ms(1000, attempts) for attempts in range(4)] == [1000, 2000, 4000, 8000]
    assert backoff_ms(1000, 1_000_000) == 3_600_000


def test_after_three_days_an_event_is_given_up(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhooks_module, "GIVE_UP_AFTER_MS", -1)
    books.charge()
    assert deliver(books, Listener(500), all_sent(books)) == ["refused"]


def test_a_duplicate_comes_several_times(books: Books) -> None:
    books.charge()
    listener = Listener()
    deliver(books, listener, all_sent(books), Duplicate(do="duplicate", operation="webhook", copies=10))
    assert len(listener.requests) == 10
    assert len({request.content for request in listener.requests}) == 1


def test_a_held_event_is_overtaken(books: Books) -> None:
    intent = body(books.charge())
    books.refund(intent["latest_charge"])
    listener = Listener()
    held = Hold(do="hold", operation="webhook", ms=100, times=1)
    deliver(books, listener, all_sent(books), held)
    assert listener.kinds == ["charge.refunded", "payment_intent.succeeded"]


def test_an_event_is_held_once_whatever_the_rules_say(books: Books) -> None:
    books.charge()
    listener = Listener()
    deliver(books, listener, all_sent(books), Hold(do="hold", operation="webhook", ms=1))
    assert len(listener.requests) == 1


def test_a_contradiction_comes_first_and_is_signed_too(books: Books) -> None:
    books.charge("pm_card_visa__webhook_contradict")
    listener = Listener()
    deliver(books, listener, all_sent(books))
    assert listener.kinds == ["payment_intent.payment_failed", "payment_intent.succeeded"]
    lie, truth = listener.events
    assert lie["data"]["object"]["id"] == truth["data"]["object"]["id"]
    assert lie["data"]["object"]["status"] == "requires_payment_method"
    assert lie["id"] != truth["id"]
    assert books.prov()[0][1] == "ok"


@pytest.mark.parametrize("payment_method", ["pm_card_visa", "pm_card_chargeDeclined", "pm_card_refundFail"])
def test_every_event_has_an_opposite(books: Books, payment_method: str) -> None:
    answer = body(books.charge(payment_method))
    if "latest_charge" in answer:
        books.refund(answer["latest_charge"])
        books.now_ms += 10_000
        books.end_due()
    event = [raw for (raw,) in books.sql("select body from events")]
    assert event
    for raw in event:
        assert json.loads(opposite(raw))["type"] != json.loads(raw)["type"]


def test_what_could_not_be_settled_is_sent_again(books: Books) -> None:
    books.charge()
    listener = Listener()
    commit, failure = books.ledger.commit, sqlite3.OperationalError("database or disk is full")
    failure.sqlite_errorname = "SQLITE_FULL"

    def no_room_once() -> None:
        books.ledger.commit = commit  # type: ignore[method-assign]
        raise failure

    books.ledger.commit = no_room_once  # type: ignore[method-assign]
    deliver(books, listener, all_sent(books))
    assert listener.kinds == ["payment_intent.succeeded"] * 2


def test_a_restart_sends_what_was_left(books: Books) -> None:
    books.charge()
    books.ledger.close()
    listener = Listener()
    again = Books(books.path, keeps_events=True)
    deliver(again, listener, all_sent(again))
    assert listener.kinds == ["payment_intent.succeeded"]


def test_a_ledger_that_cannot_be_read_for_a_moment_is_read_again(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    books.charge()
    read, failure = Reader.events_due, sqlite3.OperationalError("database is locked")
    failure.sqlite_errorname = "SQLITE_BUSY"

    def busy_once(self: Reader, now_ms: int, limit: int) -> list[StoredEvent]:
        monkeypatch.setattr(Reader, "events_due", read)
        raise failure

    monkeypatch.setattr(Reader, "events_due", busy_once)
    listener = Listener()
    deliver(books, listener, all_sent(books))
    assert listener.kinds == ["payment_intent.succeeded"]
