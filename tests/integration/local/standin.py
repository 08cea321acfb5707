"""A stand-in for a service: answers its probes, ends at SIGTERM, misbehaves when its environment says so."""

import os
import signal
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Probes(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        unready = os.environ.get("STANDIN_UNREADY")
        self.send_response(503 if unready else 200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def main() -> None:
    sys.stderr.write(f"stand-in {os.environ['STANDIN']} starts\n")
    if os.environ.get("STANDIN_DEAF"):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    crash = os.environ.get("STANDIN_CRASH_WHILE")
    if crash and Path(crash).exists():
        sys.exit(7)
    ThreadingHTTPServer(("127.0.0.1", int(os.environ["STANDIN_PORT"])), Probes).serve_forever()


if __name__ == "__main__":
    main()
