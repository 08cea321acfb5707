"""The ledger's file: money rows never change, the audit view tells what stands, bad files are refused."""

import sqlite3
from pathlib import Path
from typing import Any

import pytest
from tests.unit.payment_provider.books import Books, body

from holdfast.payment_provider.ledger import _SQL, Ledger, LedgerError, Reader

FACTS = ("ref", "kind", "status", "amount", "currency", "intent", "saga_id", "idem_key")


def entry(books: Books) -> dict[str, Any]:
    (row,) = books.sql(f"select {', '.join(FACTS)} from entries where kind = 'charge' and turn = 1")
    return dict(zip(FACTS, row, strict=True))


def insert(books: Books, turn: int, verb: str = "insert", **changes: Any) -> None:
    values = {**entry(books), "turn": turn, "at_ms": 1, "object": "{}", **changes}
    places = ", ".join("?" for _ in values)
    books.sql(f"{verb} into entries ({', '.join(values)}) values ({places})", *values.values())


def test_every_commit_reaches_the_disk(books: Books) -> None:
    session = books.ledger._db
    assert session.execute("pragma journal_mode").fetchone() == ("wal",)
    assert session.execute("pragma synchronous").fetchone() == (2,)
    assert session.execute("pragma fullfsync").fetchone() == (1,)


@pytest.mark.parametrize("vandalism", ["update entries set amount = 1", "delete from entries"])
def test_money_rows_never_change(books: Books, vandalism: str) -> None:
    books.charge()
    before = books.sql("select * from entries")
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        books.sql(vandalism)
    assert books.sql("select * from entries") == before


def test_a_row_cannot_be_replaced(books: Books) -> None:
    books.charge()
    with pytest.raises(sqlite3.IntegrityError, match="follow one another"):
        insert(books, 1, "insert or replace", amount=1)
    with pytest.raises(sqlite3.IntegrityError, match="follow one another"):
        insert(books, 2, "insert or replace", seq=1)


def test_turns_follow_one_another(books: Books) -> None:
    books.charge()
    with pytest.raises(sqlite3.IntegrityError, match="follow one another"):
        insert(books, 3)
    insert(books, 2, status="failed")


@pytest.mark.parametrize(
    "change",
    [
        {"amount": 999},
        {"currency": "eur"},
        {"kind": "refund"},
        {"intent": "pi_other"},
        {"saga_id": "other"},
        {"saga_id": None},
        {"idem_key": "other"},
    ],
)
def test_facts_never_change(books: Books, change: dict[str, Any]) -> None:
    books.charge()
    with pytest.raises(sqlite3.IntegrityError, match="facts never change"):
        insert(books, 2, **change)


@pytest.mark.parametrize("amount", [0, -1, 1.5, "1x"])
def test_an_amount_is_a_positive_integer(books: Books, amount: object) -> None:
    books.charge()
    with pytest.raises(sqlite3.IntegrityError):
        insert(books, 1, ref="ch_new", amount=amount)


def test_the_file_itself_refuses_a_refund_above_the_charge(books: Books) -> None:
    books.charge(amount=1000)
    insert(books, 1, ref="re_1", kind="refund", amount=600)
    with pytest.raises(sqlite3.IntegrityError, match="refund above charge"):
        insert(books, 1, ref="re_2", kind="refund", amount=401)
    insert(books, 1, ref="re_2", kind="refund", amount=400)


def test_the_file_itself_refuses_a_refund_of_a_declined_charge(books: Books) -> None:
    books.charge("pm_card_chargeDeclined")
    with pytest.raises(sqlite3.IntegrityError, match="refund above charge"):
        insert(books, 1, ref="re_1", kind="refund", amount=1)


def test_a_failed_refund_leaves_room_for_another(books: Books) -> None:
    charge = body(books.charge("pm_card_refundFail"))["latest_charge"]
    books.refund(charge)
    books.now_ms += 10_000
    books.end_due()
    insert(books, 1, ref="re_2", kind="refund", amount=1000)


def test_the_audit_view_tells_each_charge_and_refund_as_it_stands(books: Books) -> None:
    charge = body(books.charge(saga_id="a", key="a:do"))["latest_charge"]
    books.refund(charge, 400, key="a:undo")
    books.charge("pm_card_chargeDeclined", saga_id="b", key="b:do")
    assert books.prov() == [
        ("charge", "ok", 1000, "GBP", "a", "a:do"),
        ("charge", "declined", 1000, "GBP", "b", "b:do"),
        ("refund", "ok", 400, "GBP", "a", "a:undo"),
    ]


def test_a_reader_sees_what_was_committed_and_only_that(books: Books) -> None:
    reader = Reader(books.path)
    books.charge(saga_id="seen")
    books.ledger.begin()
    books.ledger._db.execute("insert into due (ref, due_ms, ends) values ('x', 1, 'failed')")
    assert len(reader.intents_of("seen")) == 1
    assert reader._db.execute("select count(*) from due").fetchone() == (0,)
    books.ledger.rollback()
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        reader._db.execute("delete from due")


@pytest.mark.parametrize(
    ("statement", "index"),
    [
        ("read_object", "sqlite_autoindex_entries_1"),
        ("append_turn", "sqlite_autoindex_entries_1"),
        ("find_intents", "entries_by_saga"),
        ("list_objects", "entries_by_kind"),
        ("list_objects_of_intent", "entries_by_intent"),
        ("find_key", "sqlite_autoindex_idempotency_keys_1"),
        ("find_events", "events_by_due"),
    ],
)
def test_statements_find_their_rows_by_an_index(books: Books, statement: str, index: str) -> None:
    values = dict.fromkeys([*FACTS, "at_ms", "object", "after", "limit", "key", "now_ms"], 1)
    plan = books.ledger._db.execute(f"explain query plan {_SQL[statement]}", values).fetchall()
    steps = [row[3] for row in plan]
    assert any(index in step for step in steps), steps
    assert not any(step.startswith("SCAN") and "USING" not in step for step in steps), steps


def test_answers_are_kept_for_the_lifetime_of_a_key(books: Books) -> None:
    books.run(lambda ledger: ledger.keep_answer("k", "print", 200, b"{}"))
    books.now_ms += 999
    assert books.run(lambda ledger: ledger.kept_answer("k")) is not None
    books.now_ms += 1
    assert books.run(lambda ledger: ledger.kept_answer("k")) is None
    books.run(lambda ledger: ledger.keep_answer("k", "print", 402, b"{}"))
    kept = books.run(lambda ledger: ledger.kept_answer("k"))
    assert kept is not None
    assert kept.status == 402


def test_old_answers_are_pruned_and_young_ones_stay(books: Books) -> None:
    for name in ("a", "b", "c"):
        books.run(lambda ledger, name=name: ledger.keep_answer(name, "print", 200, b"{}"))  # type: ignore[misc]
    books.now_ms += 1000
    books.run(lambda ledger: ledger.keep_answer("young", "print", 200, b"{}"))
    assert books.run(lambda ledger: ledger.prune_keys(2)) == 2
    assert books.run(lambda ledger: ledger.prune_keys(2)) == 1
    assert books.sql("select key from idempotency_keys") == [("young",)]


def test_a_file_that_is_no_ledger_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not a database, but long enough to be looked at" * 50)
    with pytest.raises(LedgerError, match="not a database"):
        Ledger(tmp_path / "notes.txt")


def test_a_ledger_of_a_later_layout_is_refused(books: Books) -> None:
    books.sql("pragma user_version = 9")
    with pytest.raises(LedgerError, match="layout 9"):
        Ledger(books.path)


def test_a_ledger_opens_again_with_what_it_held(books: Books) -> None:
    books.charge()
    books.ledger.close()
    again = Books(books.path)
    assert [row[:2] for row in again.prov()] == [("charge", "ok")]
