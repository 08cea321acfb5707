"""CPU per request of the HTTP server, guarded and not: python -m benchmarks.http_server

The same application, in a process of its own, by the kernel's count of CPU time, so that a busy machine
matters less.
"""

import asyncio
import multiprocessing
import os
import socket
from pathlib import Path
from typing import Any

import uvicorn
import uvloop

from holdfast.http_server.config import GuardedConfig
from holdfast.http_server.limits import Limits
from holdfast.runtime.http_client import HttpClient

REQUESTS = 20_000
ABREAST = 16
ROUNDS = 3
HEADERS = {
    "authorization": "Bearer " + "x" * 300,
    "idempotency-key": "a-key-of-usual-length",
    "content-type": "application/json",
    "accept": "application/json",
    "user-agent": "benchmark",
}
BODY = b'{"cart_id":"c-1","payment_method":"pm_card_visa"}'


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Read the body and answer with it."""
    if scope["type"] == "http":
        body = (await receive())["body"]
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 202, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def serve(kind: str, listener: socket.socket) -> None:
    """Serve with one of the servers that are compared."""
    if kind == "guarded":
        config: uvicorn.Config = GuardedConfig(app, Limits(), lifespan="off")
    else:
        config = uvicorn.Config(
            app, http=kind, ws="none", lifespan="off", log_config=None, access_log=False, server_header=False
        )
    uvicorn.Server(config).run([listener])


async def load(port: int, requests: int) -> None:
    """Send so many requests, several at once, on kept connections."""
    client = HttpClient(f"http://127.0.0.1:{port}")

    async def one_after_the_other() -> None:
        for _ in range(requests // ABREAST):
            answer = await client.request("POST", "/v1/checkouts", HEADERS, BODY)
            assert answer.status == 202

    await asyncio.gather(*(one_after_the_other() for _ in range(ABREAST)))
    await client.close()


def cpu_s(pid: int) -> float:
    """Return the CPU time that a process has had."""
    fields = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(kind: str) -> float:
    """Return microseconds of the server's CPU for one request, the best of the rounds."""
    with socket.create_server(("127.0.0.1", 0), backlog=512) as listener:
        server = multiprocessing.Process(target=serve, args=(kind, listener))
        server.start()
        assert server.pid is not None
        port = listener.getsockname()[1]
        uvloop.run(load(port, 1_600))
        found = []
        for _ in range(ROUNDS):
            before = cpu_s(server.pid)
            uvloop.run(load(port, REQUESTS))
            found.append((cpu_s(server.pid) - before) / REQUESTS * 1e6)
        server.kill()
        server.join()
    return min(found)


if __name__ == "__main__":
    for each in ("httptools", "guarded", "h11"):
        print(f"{each:10} {measure(each):6.1f} us of CPU a request", flush=True)
