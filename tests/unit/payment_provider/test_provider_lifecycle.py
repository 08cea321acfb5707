"""Start and stop in one process: late requests are waited for, written events are sent at once."""

import asyncio
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from pydantic import HttpUrl
from tests.unit.payment_provider.books import Books

from holdfast.payment_provider import webhooks as webhooks_module
from holdfast.payment_provider.execution import DrainableTimer
from holdfast.payment_provider.provider import Provider
from holdfast.payment_provider.settings import Secrets, Settings


def settings(folder: Path, webhook_url: str | None = None) -> Settings:
    return Settings(
        ledger=folder / "ledger.sqlite",
        key_file=folder / "key",
        webhook_url=None if webhook_url is None else HttpUrl(webhook_url),
    )


def test_all_waiting_ends_when_the_process_drains() -> None:
    async def scene() -> None:
        timer = DrainableTimer()
        waiting = [asyncio.ensure_future(timer.pause(3_600_000)) for _ in range(3)]
        timer.drain()
        async with asyncio.timeout(10):
            await asyncio.gather(*waiting)
            await timer.pause(3_600_000)
        assert timer.draining

    asyncio.run(scene())


def test_stopping_waits_for_what_runs_on_and_only_then_closes_the_ledger(tmp_path: Path) -> None:
    provider = Provider(settings(tmp_path), Secrets(("sk",), None))
    app = provider.app()

    async def late() -> None:
        await provider.timer.pause(3_600_000)
        for n in range(20):  # far more turns of the loop than stopping takes by itself
            await provider._writer.submit(
                lambda ledger, n=n: ledger.keep_answer(f"k{n}", "print", 200, b"{}")  # type: ignore[misc]
            )

    async def scene() -> None:
        async with asyncio.timeout(20), app.router.lifespan_context(app):
            provider.timer.spawn(late())

    asyncio.run(scene())
    assert Books(tmp_path / "ledger.sqlite").sql("select count(*) from idempotency_keys") == [(20,)]


def test_an_event_is_sent_without_waiting_for_a_poll(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhooks_module, "POLL_S", 3600)
    received = threading.Event()

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.end_headers()
            received.set()

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    with HTTPServer(("127.0.0.1", 0), Receiver) as listener:
        threading.Thread(target=listener.serve_forever, daemon=True).start()
        hooked = settings(tmp_path, f"http://127.0.0.1:{listener.server_port}/hooks")
        provider = Provider(hooked, Secrets(("sk",), "whsec"))
        app = provider.app()

        async def scene() -> None:
            async with asyncio.timeout(20), app.router.lifespan_context(app):
                await provider._writer.submit(
                    lambda _: None
                )  # by now the sender has seen that there is nothing
                await provider._writer.submit(
                    lambda ledger: ledger.add_event(
                        b"{}", subject="k", payment_method="pm_card_visa", script=""
                    )
                )
                assert await asyncio.to_thread(received.wait, 10)

        try:
            asyncio.run(scene())
        finally:
            listener.shutdown()
