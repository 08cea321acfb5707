"""Group commit: many share one fsync, one failure is one caller's, and a broken file ends the process."""

import asyncio
import sqlite3
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from tests.eventually import eventually
from tests.unit.payment_provider.books import Books

from holdfast.payment_provider import writer as writer_module
from holdfast.payment_provider.errors import ApiError
from holdfast.payment_provider.ledger import Ledger
from holdfast.payment_provider.operations import Later
from holdfast.payment_provider.writer import LedgerDownError, Writer


class Harness:
    """A writer at work, and what it reported."""

    def __init__(self, books: Books) -> None:
        self.commits: list[int] = []
        self.died = asyncio.Event()
        self.writer = Writer(
            books.ledger, on_commit=lambda jobs, seconds: self.commits.append(jobs), on_death=self.died.set
        )
        self.writer.start()

    async def hold(self) -> tuple[threading.Event, "asyncio.Future[None]"]:
        """Keeps the writer busy until the event is set, so that what comes now waits together."""
        entered, release = asyncio.Event(), threading.Event()
        loop = asyncio.get_running_loop()

        def wait(_: Ledger) -> None:
            loop.call_soon_threadsafe(entered.set)
            assert release.wait(10)

        held = asyncio.ensure_future(self.writer.submit(wait))
        await entered.wait()
        return release, held


def run_with_writer(books: Books, scene: Callable[[Harness], Awaitable[None]]) -> Harness:
    """Plays a scene, with the writer stopped afterwards."""

    async def play() -> Harness:
        harness = Harness(books)
        async with asyncio.timeout(20):
            await scene(harness)
            await harness.writer.stop()
        return harness

    return asyncio.run(play())


def keep(name: str) -> Callable[[Ledger], str]:
    def work(ledger: Ledger) -> str:
        ledger.keep_answer(name, "print", 200, b"{}")
        return name

    return work


def kept(books: Books) -> list[str]:
    return [name for (name,) in books.sql("select key from idempotency_keys order by seq")]


def test_all_that_waits_shares_one_commit(books: Books) -> None:
    async def scene(harness: Harness) -> None:
        release, held = await harness.hold()
        waiting = [asyncio.ensure_future(harness.writer.submit(keep(f"k{n}"))) for n in range(50)]
        await asyncio.sleep(0)  # lets them queue
        release.set()
        assert await asyncio.gather(*waiting) == [f"k{n}" for n in range(50)]
        await held

    harness = run_with_writer(books, scene)
    assert harness.commits == [1, 50]
    assert len(kept(books)) == 50


def test_a_batch_has_a_bound(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_module, "BATCH_MAX", 20)

    async def scene(harness: Harness) -> None:
        release, held = await harness.hold()
        waiting = [asyncio.ensure_future(harness.writer.submit(keep(f"k{n}"))) for n in range(50)]
        await asyncio.sleep(0)  # lets them queue
        release.set()
        await asyncio.gather(*waiting, held)

    assert run_with_writer(books, scene).commits == [1, 20, 20, 10]


def test_an_answer_comes_only_after_the_commit(books: Books) -> None:
    async def scene(harness: Harness) -> None:
        for n in range(20):
            await harness.writer.submit(keep(f"k{n}"))
            assert len(kept(books)) == n + 1

    run_with_writer(books, scene)


@pytest.mark.parametrize(
    "failure", [ApiError(404, "no"), ZeroDivisionError("bug"), sqlite3.IntegrityError("no")]
)
def test_one_failure_is_one_callers_alone(books: Books, failure: Exception) -> None:
    def fail(ledger: Ledger) -> None:
        ledger.keep_answer("undone", "print", 200, b"{}")
        ledger.schedule("pi_1", 0, "succeeded")
        raise failure

    async def scene(harness: Harness) -> None:
        release, held = await harness.hold()
        waiting = [
            asyncio.ensure_future(harness.writer.submit(work)) for work in (keep("a"), fail, keep("b"))
        ]
        await asyncio.sleep(0)  # lets them queue
        release.set()
        first, second, third = await asyncio.gather(*waiting, return_exceptions=True)
        assert (first, second, third) == ("a", failure, "b")
        await held

    assert run_with_writer(books, scene).commits == [1, 3]
    assert kept(books) == ["a", "b"]
    assert books.sql("select * from due") == []


def test_a_full_disk_fails_its_batch_and_heals(books: Books) -> None:
    async def scene(harness: Harness) -> None:
        (pages,) = books.sql("pragma page_count")[0]
        await harness.writer.submit(lambda ledger: ledger._db.execute(f"pragma max_page_count = {pages}"))
        with pytest.raises(LedgerDownError, match="full"):
            await harness.writer.submit(lambda ledger: ledger.keep_answer("k", "print", 200, b"x" * 100_000))
        await harness.writer.submit(lambda ledger: ledger._db.execute("pragma max_page_count = 1000000"))
        await harness.writer.submit(keep("later"))
        assert harness.writer.alive
        assert not harness.died.is_set()

    run_with_writer(books, scene)
    assert kept(books) == ["later"]


def test_an_end_that_finds_no_room_waits_without_haste(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_module, "IDLE_S", 60)
    tried: list[None] = []
    failure = sqlite3.OperationalError("database or disk is full")
    failure.sqlite_errorname = "SQLITE_FULL"
    commit = books.ledger.commit

    def no_room() -> None:
        tried.append(None)
        raise failure

    books.charge(later=Later(500, "succeeded"))

    async def scene(harness: Harness) -> None:
        books.ledger.commit = no_room  # type: ignore[method-assign]
        books.now_ms += 500
        for _ in range(3):
            with pytest.raises(LedgerDownError):
                await harness.writer.submit(lambda _: None)
        assert books.prov()[0][1] == "pending"  # a look that takes as long as many hasty attempts
        assert len(tried) == 3
        books.ledger.commit = commit  # type: ignore[method-assign]
        await harness.writer.submit(lambda _: None)
        assert books.prov()[0][1] == "ok"

    run_with_writer(books, scene)


def test_a_broken_file_fails_all_who_wait_and_ends_the_writer(tmp_path: Path) -> None:
    books = Books(tmp_path / "ledger.sqlite")
    failure = sqlite3.OperationalError("disk I/O error")
    failure.sqlite_errorname = "SQLITE_IOERR_FSYNC"

    def broken() -> None:
        raise failure

    async def scene(harness: Harness) -> None:
        release, held = await harness.hold()
        waiting = [asyncio.ensure_future(harness.writer.submit(keep(f"k{n}"))) for n in range(3)]
        await asyncio.sleep(0)  # lets them queue
        books.ledger.commit = broken  # type: ignore[method-assign]
        release.set()
        answers = await asyncio.gather(held, *waiting, return_exceptions=True)
        assert [type(answer) for answer in answers] == [LedgerDownError] * 4
        await harness.died.wait()
        assert not harness.writer.alive
        with pytest.raises(LedgerDownError):
            await harness.writer.submit(keep("too late"))

    run_with_writer(books, scene)
    assert kept(books) == []


def test_ends_come_by_themselves(books: Books) -> None:
    books.charge(later=Later(500, "succeeded"))

    async def scene(harness: Harness) -> None:
        books.now_ms += 500
        while books.prov()[0][1] != "ok":
            await harness.writer.submit(lambda _: None)

    run_with_writer(books, scene)


def test_an_idle_writer_wakes_for_an_end(tmp_path: Path) -> None:
    books = Books(tmp_path / "ledger.sqlite")
    books.charge(later=Later(0, "succeeded"))

    async def scene(harness: Harness) -> None:
        await asyncio.to_thread(eventually, lambda: books.prov()[0][1] == "ok", "the charge's end")

    run_with_writer(books, scene)


def test_old_keys_are_pruned_now_and_then(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_module, "PRUNE_EVERY_S", 0)
    books.run(keep("old"))
    books.now_ms += 1000

    async def scene(harness: Harness) -> None:
        await harness.writer.submit(keep("young"))

    run_with_writer(books, scene)
    assert kept(books) == ["young"]


def test_stopping_answers_what_was_submitted(books: Books) -> None:
    async def scene(harness: Harness) -> None:
        release, held = await harness.hold()
        waiting = [asyncio.ensure_future(harness.writer.submit(keep(f"k{n}"))) for n in range(5)]
        await asyncio.sleep(0)  # lets them queue
        stopping = asyncio.ensure_future(harness.writer.stop())
        await asyncio.sleep(0)  # lets it ask
        release.set()
        assert await asyncio.gather(*waiting) == [f"k{n}" for n in range(5)]
        await asyncio.gather(held, stopping)

    run_with_writer(books, scene)
    assert len(kept(books)) == 5


def test_a_request_that_was_given_up_still_commits(books: Books) -> None:
    async def scene(harness: Harness) -> None:
        release, held = await harness.hold()
        given_up = asyncio.ensure_future(harness.writer.submit(keep("given up")))
        await asyncio.sleep(0)  # lets it queue
        given_up.cancel()
        release.set()
        await held
        assert await harness.writer.submit(keep("next")) == "next"

    run_with_writer(books, scene)
    assert kept(books) == ["given up", "next"]
