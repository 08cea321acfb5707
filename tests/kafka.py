"""One Apache Kafka for the whole test session, shared by the workers of pytest-xdist.

A broker that HOLDFAST_KAFKA_BOOTSTRAP names is used instead. Tests that break a broker start their own.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from holdfast.local.kafka import LocalKafka

LIBS = Path(__file__).parents[1] / ".kafka" / "libs"


GIVEN = os.environ.get("HOLDFAST_KAFKA_BOOTSTRAP", "")

SESSION_TIMEOUT_MS = 6_000 if GIVEN else 2_000
"""How long a member may be silent: at least what the broker allows, by default Kafka's own lower bound."""


@contextmanager
def kafka_broker(folder: Path) -> Iterator[str]:
    """Hand out the address of the given broker, or of the one that the first worker started in `folder`.

    The worker that started it stops it when the last one is done.

    Every worker holds a shared lock on `users` as long as it uses the broker, and the kernel lets go of it
    even if the worker dies.
    """
    if GIVEN:
        yield GIVEN
        return
    address = folder / "kafka.address"
    with (folder / "kafka.starting").open("w") as starting, (folder / "kafka.users").open("w") as users:
        fcntl.flock(starting, fcntl.LOCK_EX)
        fcntl.flock(users, fcntl.LOCK_SH)
        if address.exists():
            fcntl.flock(starting, fcntl.LOCK_UN)
            yield address.read_text()
            return
        with LocalKafka(folder / "kafka", libs=LIBS) as kafka:
            address.write_text(kafka.bootstrap)
            fcntl.flock(starting, fcntl.LOCK_UN)
            try:
                yield kafka.bootstrap
            finally:
                fcntl.flock(starting, fcntl.LOCK_EX)  # who comes now starts another
                address.unlink()
                fcntl.flock(users, fcntl.LOCK_EX)
