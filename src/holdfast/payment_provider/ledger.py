"""The ledger in its SQLite file: append-only money, kept answers, scheduled ends, events to send.

`operations` defines charges and refunds; `writer` begins and ends the transactions.
"""

import os
import sqlite3
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from holdfast.payment_provider.objects import Json

SCHEMA_VERSION = 1
_KINDS = {"payment_intent": "intent", "charge": "charge", "refund": "refund"}
_SQL = {file.stem: file.read_text(encoding="utf-8") for file in Path(__file__).with_name("sql").glob("*.sql")}


class LedgerError(Exception):
    """The file cannot be used as the ledger; the text says why."""


class KeptAnswer(NamedTuple):
    fingerprint: str
    status: int
    body: str
    created_ms: int


class StoredEvent(NamedTuple):
    seq: int
    subject: str
    payment_method: str
    script: str
    body: bytes
    attempts: int
    created_ms: int


def wall_ms() -> int:
    """Return Unix time in milliseconds."""
    return time.time_ns() // 1_000_000


def new_ref(prefix: str, now_ms: int) -> str:
    """Make an id that sorts roughly by time, which keeps the ledger's indexes narrow."""
    return f"{prefix}_{now_ms:011x}{os.urandom(7).hex()}"


class Reader:
    """Reads of the ledger; each sees everything that was committed before it."""

    def __init__(self, path: Path, *, mode: str = "ro") -> None:
        uri = f"{path.absolute().as_uri()}?mode={mode}"
        self._db = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False, timeout=5)

    def object(self, ref: str) -> Json | None:
        """Return the object in its current state, or None."""
        found = self._all("read_object", ref=ref)
        return found[0] if found else None

    def intents_of(self, saga_id: str) -> list[Json]:
        """Return the intents whose metadata names this saga, newest first."""
        return self._all("find_intents", saga_id=saga_id)

    def page(self, kind: str, *, intent: str | None, after: str | None, limit: int) -> list[Json]:
        """Return at most `limit` charges or refunds, newest first, older than `after`."""
        if intent is not None:
            return self._all("list_objects_of_intent", kind=kind, intent=intent, after=after, limit=limit)
        return self._all("list_objects", kind=kind, after=after, limit=limit)

    def events_due(self, now_ms: int, limit: int) -> list[StoredEvent]:
        """Return events to send now, the longest due first."""
        rows = self._run("find_events", now_ms=now_ms, limit=limit)
        return [StoredEvent(*row) for row in rows]

    def close(self) -> None:
        self._db.close()

    def _run(self, statement: str, **values: Any) -> sqlite3.Cursor:
        return self._db.execute(_SQL[statement], values)

    def _all(self, statement: str, **values: Any) -> list[Json]:
        return [msgspec.json.decode(text) for (text,) in self._run(statement, **values)]


class Ledger(Reader):
    """The only writing connection. Only `commit` commits; use it from one thread at a time."""

    def __init__(
        self,
        path: Path,
        *,
        key_ttl_ms: int = 24 * 3600 * 1000,
        keeps_events: bool = False,
        now_ms: Callable[[], int] = wall_ms,
    ) -> None:
        self.now_ms = now_ms
        self._key_ttl_ms = key_ttl_ms
        self.keeps_events = keeps_events
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            super().__init__(path, mode="rwc")
            self._open()
        except (OSError, sqlite3.Error) as error:
            raise LedgerError(f"cannot open the ledger {path}: {error}") from error
        self.next_due_ms = self._next_due()

    def _open(self) -> None:
        (mode,) = self._db.execute("pragma journal_mode = wal").fetchone()
        if mode != "wal":
            raise LedgerError(f"the ledger's file system cannot keep a write-ahead log (journal mode {mode})")
        self._db.execute("pragma synchronous = full")
        self._db.execute(
            "pragma fullfsync = on"
        )  # macOS: without it, a synced page may still be in the disk's cache
        (version,) = self._db.execute("pragma user_version").fetchone()
        if version == 0:
            self._db.executescript(f"begin immediate; {_SQL['create_ledger']} commit;")
        elif version != SCHEMA_VERSION:
            raise LedgerError(f"the ledger has layout {version}, this program knows {SCHEMA_VERSION}")

    # Transactions

    def begin(self) -> None:
        self._db.execute("begin immediate")

    def commit(self) -> None:
        """Commit; return only when everything since `begin` is on the disk."""
        self._db.execute("commit")

    def rollback(self) -> None:
        with suppress(sqlite3.OperationalError):  # SQLite may have rolled back by itself, after a full disk
            self._db.execute("rollback")
        self.next_due_ms = self._next_due()

    def mark(self) -> None:
        """Mark the point in the transaction to which `rewind` returns."""
        self._db.execute("savepoint work")

    def release(self) -> None:
        """Keep what was done since `mark`, if the transaction commits."""
        self._db.execute("release work")

    def rewind(self) -> None:
        self._db.execute("rollback to work")
        self.release()
        self.next_due_ms = self._next_due()

    # Money

    def append(self, subject: Json, *, saga_id: str | None, idem_key: str | None) -> None:
        """Write a new object with its facts and first status."""
        self._run(
            "append_entry",
            ref=subject["id"],
            kind=_KINDS[subject["object"]],
            status=subject["status"],
            amount=subject["amount"],
            currency=subject["currency"],
            intent=subject.get("payment_intent", subject["id"]),
            saga_id=saga_id,
            idem_key=idem_key,
            at_ms=self.now_ms(),
            object=msgspec.json.encode(subject).decode(),
        )

    def turn(self, subject: Json) -> None:
        """Write the current state of a known object; its facts do not change."""
        text = msgspec.json.encode(subject).decode()
        self._run(
            "append_turn", ref=subject["id"], status=subject["status"], at_ms=self.now_ms(), object=text
        )

    # Final statuses to come

    def schedule(self, ref: str, after_ms: int, ends: str) -> None:
        due_ms = self.now_ms() + after_ms
        self._run("schedule_end", ref=ref, due_ms=due_ms, ends=ends)
        self.next_due_ms = due_ms if self.next_due_ms is None else min(due_ms, self.next_due_ms)

    def has_due(self) -> bool:
        return self.next_due_ms is not None and self.next_due_ms <= self.now_ms()

    def take_due(self) -> list[tuple[str, str]]:
        """Return the objects whose end is due, with that end, and remove them from the schedule."""
        due = self._run("find_due", now_ms=self.now_ms()).fetchall()
        for ref, _ in due:
            self._run("unschedule_end", ref=ref)
        self.next_due_ms = self._next_due()
        return due

    def _next_due(self) -> int | None:
        (due_ms,) = self._run("read_next_due").fetchone()
        return due_ms if due_ms is None else int(due_ms)

    # Kept answers

    def kept_answer(self, key: str) -> KeptAnswer | None:
        """Return the answer kept under this key; one older than the keys' lifetime is deleted."""
        row = self._run("find_key", key=key).fetchone()
        if row is None:
            return None
        kept = KeptAnswer(*row)
        if kept.created_ms + self._key_ttl_ms > self.now_ms():
            return kept
        self._run("forget_key", key=key)
        return None

    def keep_answer(self, key: str, fingerprint: str, status: int, body: bytes) -> None:
        self._run(
            "keep_key",
            key=key,
            fingerprint=fingerprint,
            status=status,
            body=body.decode(),
            created_ms=self.now_ms(),
        )

    def prune_keys(self, limit: int) -> int:
        """Delete at most `limit` answers that are past their lifetime; return how many."""
        return self._run("prune_keys", limit=limit, before_ms=self.now_ms() - self._key_ttl_ms).rowcount

    # Events

    def add_event(self, body: bytes, *, subject: str, payment_method: str, script: str) -> None:
        """Store an event to send, in the effect's own transaction."""
        self._run(
            "add_event",
            subject=subject,
            payment_method=payment_method,
            script=script,
            body=body,
            now_ms=self.now_ms(),
        )

    def postpone_event(self, seq: int, due_ms: int) -> None:
        self._run("postpone_event", seq=seq, due_ms=due_ms)

    def forget_event(self, seq: int) -> None:
        self._run("forget_event", seq=seq)
