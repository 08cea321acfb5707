"""The process: killed at any moment it loses nothing it answered; stopped it drains; its faults are named."""

import json
import os
import resource
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import httpx2
import pytest
from tests.eventually import eventually
from tests.integration.payment_provider.provider_process import KEY, ProviderProcess, running

from holdfast.local.processes import free_ports


def test_killed_between_effect_and_answer_it_charged_once(tmp_path: Path) -> None:
    with running(tmp_path) as provider:
        provider.rules({"do": "timeout_after", "operation": "charge", "ms": 60_000})
        with ThreadPoolExecutor(1) as pool:
            cut = pool.submit(provider.charge, "k", saga_id="saga")
            eventually(lambda: provider.prov() != [], "the effect")
            provider.kill()
            with pytest.raises(httpx2.TransportError):
                cut.result()
        (before,) = provider.prov()
        provider.start()
        repeat = provider.charge("k", saga_id="saga")
        assert (repeat.status_code, repeat.headers["idempotent-replayed"]) == (200, "true")
        assert repeat.json()["latest_charge"] == before["ref"]
        assert provider.prov() == [before]


def test_killed_between_a_refund_and_its_answer_it_refunded_once(tmp_path: Path) -> None:
    with running(tmp_path) as provider:
        intent = provider.charge("do", saga_id="saga").json()["id"]
        provider.rules({"do": "timeout_after", "operation": "refund", "ms": 60_000})
        with ThreadPoolExecutor(1) as pool:
            cut = pool.submit(provider.refund, intent, "undo")
            eventually(lambda: len(provider.prov()) == 2, "the effect")
            provider.kill()
            with pytest.raises(httpx2.TransportError):
                cut.result()
        provider.start()
        repeat = provider.refund(intent, "undo")
        assert repeat.headers["idempotent-replayed"] == "true"
        assert provider.refund(intent, "other").json()["error"]["code"] == "charge_already_refunded"
        assert [row["kind"] for row in provider.prov()] == ["charge", "refund"]


def test_killed_under_load_it_kept_all_that_it_answered(tmp_path: Path) -> None:
    with running(tmp_path) as provider:
        answered: list[tuple[str, str]] = []
        enough = threading.Event()

        def shopper(who: int) -> None:
            for n in range(10_000):
                try:
                    response = provider.charge(f"{who}-{n}", saga_id=f"{who}-{n}")
                except (httpx2.TransportError, RuntimeError):  # killed; or the client closed after that
                    return
                answered.append((f"{who}-{n}", response.json()["latest_charge"]))
                if len(answered) >= 300:
                    enough.set()

        with ThreadPoolExecutor(8) as pool:
            shoppers = [pool.submit(shopper, who) for who in range(8)]
            assert enough.wait(30)
            provider.kill()
            for one in shoppers:
                one.result()
        kept = {row["idem_key"]: row["ref"] for row in provider.prov()}
        assert len(answered) >= 300
        assert dict(answered).items() <= kept.items()
        provider.start()
        for key, charge in answered[:20]:
            assert provider.charge(key, saga_id=key).json()["latest_charge"] == charge
        session = sqlite3.connect(provider.ledger)
        assert session.execute("pragma integrity_check").fetchone() == ("ok",)
        session.close()


def test_an_end_to_come_survives_a_kill(tmp_path: Path) -> None:
    with running(tmp_path) as provider:
        intent = provider.charge("k", payment_method="pm_card_visa__succeed_later_200ms").json()
        provider.kill()
        assert provider.prov()[0]["status"] == "pending"
        provider.start()
        path = f"/v1/payment_intents/{intent['id']}"
        eventually(lambda: provider.get(path)["status"] == "succeeded", "the charge's end")


def test_keys_live_as_long_as_the_setting_says(tmp_path: Path) -> None:
    with running(tmp_path, PROVIDER_KEY_TTL_S="1") as provider:
        first = provider.charge("k").json()["id"]
        eventually(lambda: provider.charge("k").json()["id"] != first, "the key's end")
        assert len(provider.prov()) == 2


def test_sigterm_drains_and_ends_with_zero(tmp_path: Path) -> None:
    with running(tmp_path) as provider:
        provider.rules(
            {"do": "latency", "operation": "charge", "ms": 60_000, "payment_method": "pm_card_visa"},
            {"do": "timeout_after", "operation": "charge", "ms": 60_000, "payment_method": "pm_card_amex"},
            {"do": "late", "operation": "charge", "ms": 60_000, "payment_method": "pm_card_jcb"},
        )
        with pytest.raises(httpx2.RemoteProtocolError):
            provider.charge("late", payment_method="pm_card_jcb")
        with ThreadPoolExecutor(2) as pool:
            slow = pool.submit(provider.charge, "slow")
            silent = pool.submit(provider.charge, "silent", payment_method="pm_card_amex")
            eventually(lambda: provider.get("/health")["in_flight"] == 1, "the slow call")
            eventually(lambda: provider.prov() != [], "the silent call")
            provider.process.terminate()
            assert slow.result().status_code == 200
            with pytest.raises(httpx2.RemoteProtocolError):
                silent.result()
        assert provider.ended() == 0
        assert {row["idem_key"] for row in provider.prov()} == {"slow", "silent", "late"}
        assert [event["event"] for event in provider.log] == ["listening", "stopped"]


def test_a_second_signal_ends_it_at_once(tmp_path: Path) -> None:
    # A request whose body never comes holds the drain for all of its 10 s.
    request = (
        "POST /v1/payment_intents HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n"
        "Authorization: Bearer sk_test_integration\r\n\r\n"
    )
    with running(tmp_path) as provider, socket.create_connection(address(provider)) as stuck:
        stuck.sendall(request.encode())
        assert provider.get("/livez") == {"status": "ok"}, "answered after the stuck one was read"
        provider.process.terminate()
        eventually(lambda: refuses(provider), "the closed door")
        provider.process.send_signal(signal.SIGTERM)
        provider.process.wait(5)


def address(provider: ProviderProcess) -> tuple[str, int]:
    return "127.0.0.1", int(provider.url.rsplit(":", 1)[1])


def refuses(provider: ProviderProcess) -> bool:
    try:
        socket.create_connection(address(provider)).close()
    except ConnectionRefusedError:
        return True
    return False


def test_a_broken_ledger_ends_the_process(tmp_path: Path) -> None:
    with running(tmp_path) as provider:
        provider.charge("before")
        size = max(path.stat().st_size for path in tmp_path.iterdir())
        resource.prlimit(provider.process.pid, resource.RLIMIT_FSIZE, (size, size))
        statuses: list[int] = []
        while (response := provider.charge(f"k{len(statuses)}")).status_code == 200:
            statuses.append(response.status_code)
        assert response.status_code == 500
        assert response.json()["error"]["type"] == "api_error"
        assert provider.ended() == 1
        assert "ledger_writer_died" in [event["event"] for event in provider.log]
        assert len(provider.prov()) == 1 + len(statuses), (
            "what got a 500 was rolled back, what got a 200 is there"
        )


def run(folder: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "holdfast.payment_provider.main"],
        env={**os.environ, **environment},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_wrong_settings_are_named_and_end_with_two(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("sk")
    good = {"PROVIDER_LEDGER": str(tmp_path / "ledger.sqlite"), "PROVIDER_KEY_FILE": str(tmp_path / "key")}
    with socket.create_server(("127.0.0.1", 0)) as taken:
        cases = {
            "PROVIDER_KEY_FILE": {**good, "PROVIDER_KEY_FILE": str(tmp_path / "nowhere")},
            "PROVIDER_LEDGER": {
                **good,
                "PROVIDER_HTTP_PORT": "0",
                "PROVIDER_LEDGER": str(tmp_path / "key/under"),
            },
            "PROVIDER_HTTP_PORT": {**good, "PROVIDER_HTTP_PORT": str(taken.getsockname()[1])},
        }
        for variable, environment in cases.items():
            ended = run(tmp_path, **environment)
            assert ended.returncode == 2
            assert ended.stderr.startswith(f"{variable}: ")
            assert "Traceback" not in ended.stderr


def test_nothing_of_holdfast_but_the_http_server_is_imported(tmp_path: Path) -> None:
    script = (
        "import sys, holdfast.payment_provider.main\n"
        "print(*(name for name in sys.modules if name.startswith('holdfast.')))"
    )
    found = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    )
    rooms = {module.split(".")[1] for module in found.stdout.split()}
    assert rooms == {"payment_provider", "http_server"}, "the server knows nothing of ours itself"


class Listener(ThreadingHTTPServer):
    """Receives webhooks, or refuses them."""

    def __init__(self) -> None:
        self.received: SimpleQueue[tuple[dict[str, Any], str]] = SimpleQueue()
        self.refusing = threading.Event()
        self.refused = threading.Semaphore(0)
        super().__init__(("127.0.0.1", 0), Receiver)
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Receiver(BaseHTTPRequestHandler):
    server: Listener

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.server.refusing.is_set():
            self.server.refused.release()
            self.send_response(500)
        else:
            self.server.received.put((json.loads(body), self.headers["Stripe-Signature"]))
            self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Says nothing."""


def test_webhooks_leave_the_process_and_survive_a_kill(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("whsec_1")
    listener = Listener()
    settings = {
        "PROVIDER_WEBHOOK_URL": f"http://127.0.0.1:{listener.server_port}/hooks",
        "PROVIDER_WEBHOOK_SECRET_FILE": str(tmp_path / "secret"),
        "PROVIDER_WEBHOOK_RETRY_MS": "1",
    }
    with running(tmp_path, **settings) as provider:
        intent = provider.charge("do").json()
        event, signature = listener.received.get(timeout=20)
        assert (event["type"], event["data"]["object"]) == ("payment_intent.succeeded", intent)
        assert signature.startswith("t=")
        eventually(lambda: left(provider) == 0, "the event is settled")
        listener.refusing.set()
        provider.refund(intent["id"], "undo")
        assert listener.refused.acquire(timeout=20)
        assert listener.refused.acquire(timeout=20), "it came again"
        provider.kill()
        assert left(provider) == 1
        listener.refusing.clear()
        provider.start()
        assert listener.received.get(timeout=20)[0]["type"] == "charge.refunded"
    listener.shutdown()
    listener.server_close()


def left(provider: ProviderProcess) -> int:
    session = sqlite3.connect(provider.ledger)
    (count,) = session.execute("select count(*) from events").fetchone()
    session.close()
    return int(count)


def test_dead_webhooks_make_it_unready_while_charges_go_on(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("whsec_1")
    settings = {
        "PROVIDER_WEBHOOK_URL": "http://127.0.0.1:9/hooks",
        "PROVIDER_WEBHOOK_SECRET_FILE": str(tmp_path / "secret"),
    }
    with running(tmp_path, **settings) as provider:
        assert provider.client.get("/readyz").status_code == 200
        session = sqlite3.connect(provider.ledger)
        session.execute("insert into events (subject, payment_method, script, body, due_ms, created_ms)"
                        " values ('k', 'pm_card_visa', 'unheard_script', x'7b7d', 0, 0)")  # fmt: skip
        session.commit()
        session.close()
        eventually(lambda: provider.client.get("/readyz").status_code == 503, "not ready")
        assert provider.client.get("/readyz").json()["checks"]["webhooks"] is False
        assert provider.client.get("/livez").status_code == 200
        assert provider.charge("k").status_code == 200
        assert provider.get("/health")["status"] == "degraded"
        assert "webhooks_died" in [event["event"] for event in provider.log]


def test_a_reader_of_its_log_who_reads_nothing_delays_no_charge_and_hears_how_much_he_missed(
    tmp_path: Path,
) -> None:
    """The pipe is full before the process is there: not even its start waits for the reader."""
    (tmp_path / "secret").write_text("whsec_1")
    (tmp_path / "key").write_text(KEY)
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    padding = 0
    with suppress(BlockingIOError):
        while True:
            padding += os.write(writer, b"x" * 1024)
    os.set_blocking(writer, True)
    port = free_ports(1)[0]
    environment = {
        **os.environ,
        "PROVIDER_HTTP_PORT": str(port),
        "PROVIDER_LEDGER": str(tmp_path / "ledger.sqlite"),
        "PROVIDER_KEY_FILE": str(tmp_path / "key"),
    }
    command = [sys.executable, "-m", "holdfast.payment_provider.main"]
    with (
        subprocess.Popen(command, env=environment, stdout=writer) as process,
        httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=20, trust_env=False) as client,
    ):
        os.close(writer)
        eventually(lambda: _is_ready(client), "it serves", 60)
        assert "provider_log_lines_dropped 0.0" in client.get("/metrics").text
        while padding > 0:
            padding -= len(os.read(reader, min(padding, 1 << 16)))
        assert json.loads(os.read(reader, 1 << 16).splitlines()[0])["event"] == "listening"
        process.terminate()
        assert process.wait(60) == 0
    os.close(reader)


def _is_ready(client: httpx2.Client) -> bool:
    try:
        return client.get("/readyz").status_code == 200
    except httpx2.TransportError:
        return False
