"""The provider as a real process on a free port, to talk to, to kill and to start again."""

import json
import os
import queue
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2

KEY = "sk_test_integration"
START_S = 30
GOOD = {"amount": "1000", "currency": "gbp", "payment_method": "pm_card_visa", "confirm": "true"}


class ProviderProcess:
    """One provider with its folder; `start` may come again after its end."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.folder = folder
        self.ledger = folder / "ledger.sqlite"
        self.log: list[dict[str, Any]] = []
        (folder / "key").write_text(KEY)
        self._environment = {
            **os.environ,
            "PROVIDER_HTTP_PORT": "0",
            "PROVIDER_LEDGER": str(self.ledger),
            "PROVIDER_KEY_FILE": str(folder / "key"),
            **environment,
        }

    def start(self) -> None:
        """Returns when the process listens."""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "holdfast.payment_provider.main"],
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        ports: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._reading = threading.Thread(target=self._read, args=(self.process, ports), daemon=True)
        self._reading.start()
        self.url = f"http://127.0.0.1:{ports.get(timeout=START_S)}"
        self.client = httpx2.Client(
            base_url=self.url, headers={"Authorization": f"Bearer {KEY}"}, timeout=20, trust_env=False
        )

    def kill(self) -> None:
        """SIGKILL, and nothing else."""
        self.process.kill()
        self.process.wait(20)
        self._reading.join(20)
        self.client.close()

    def stop(self) -> int:
        """SIGTERM; the exit status."""
        self.process.terminate()
        return self.ended()

    def ended(self) -> int:
        """The exit status, once the process has ended."""
        status = self.process.wait(20)
        self._reading.join(20)
        self.client.close()
        return status

    def _read(self, process: "subprocess.Popen[str]", ports: "queue.SimpleQueue[int]") -> None:
        assert process.stdout is not None
        for line in process.stdout:
            event: dict[str, Any] = json.loads(line) if line.startswith("{") else {"event": line.strip()}
            self.log.append(event)
            if event["event"] == "listening":
                ports.put(event["port"])

    # What a client does

    def charge(self, key: str | None = None, **fields: str) -> httpx2.Response:
        """A charge; metadata is given as saga_id, behaviour."""
        form = dict(GOOD)
        for name, value in fields.items():
            form[f"metadata[{name}]" if name in {"saga_id", "behaviour"} else name] = value
        return self.post("/v1/payment_intents", key, form)

    def refund(self, intent: str, key: str | None = None, **fields: str) -> httpx2.Response:
        return self.post("/v1/refunds", key, {"payment_intent": intent, **fields})

    def post(self, path: str, key: str | None, form: dict[str, str]) -> httpx2.Response:
        headers = {} if key is None else {"Idempotency-Key": key}
        return self.client.post(path, data=form, headers=headers)

    def get(self, path: str, **query: str | int) -> dict[str, Any]:
        """The JSON of a look-up that succeeds."""
        response = self.client.get(path, params=query)
        assert response.status_code == 200, response.text
        document: dict[str, Any] = response.json()
        return document

    def search(self, saga_id: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.get(
            "/v1/payment_intents/search", query=f"metadata['saga_id']:'{saga_id}'"
        )["data"]
        return found

    def rules(self, *rules: dict[str, Any]) -> None:
        """Scripts misbehaviour in place of what was scripted."""
        response = self.client.put("/admin/behaviour", json={"rules": rules})
        assert response.status_code == 200, response.text

    def prov(self, where: str = "1 = 1", *values: object) -> list[dict[str, Any]]:
        """What an auditor reads from the file."""
        session = sqlite3.connect(f"{self.ledger.as_uri()}?mode=ro", uri=True)
        session.row_factory = sqlite3.Row
        rows = session.execute(f"select * from prov where {where} order by kind, idem_key", values).fetchall()
        session.close()
        return [dict(row) for row in rows]


@contextmanager
def running(folder: Path, **environment: str) -> Iterator[ProviderProcess]:
    """A provider that is gone afterwards, however the test ends."""
    provider = ProviderProcess(folder, **environment)
    provider.start()
    try:
        yield provider
    finally:
        if provider.process.poll() is None:
            provider.kill()
