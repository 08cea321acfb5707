"""Record the histories in an orchestrator's database: python scripts/record_histories.py DSN >> FILE

One line a saga, in JSON; of those that went the same way only the first. Reads, and never writes.
"""

import sys
from collections.abc import Iterator
from contextlib import closing

import msgspec
import psycopg

from holdfast.messaging.pipeline import Pipeline
from holdfast.sagas.checkout import VERSIONS
from holdfast.sagas.histories import History, RecordedEvent, record
from holdfast.services.checkout_orchestrator.store import PostgresSagaTransaction


def histories(dsn: str) -> Iterator[History]:
    """Read every saga and its history at one moment; those whose history was pruned are left out."""
    connection = psycopg.connect(dsn, options="-c default_transaction_isolation=repeatable\\ read")
    with closing(Pipeline(connection)) as session:
        session.begin()
        tx = PostgresSagaTransaction(session)
        for (saga_id,) in tx.read("select saga_id::text from saga_event where seq = 1 order by 1"):
            saga = tx.read_saga(saga_id)
            if saga is None:
                continue
            events = [
                RecordedEvent(row.event_id, row.kind, row.payload.decode(), row.at_ms, row.path)
                for row in tx.read_history(saga_id)
            ]
            yield record(saga, events, VERSIONS)


def way(history: History) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Return which way a saga went: kinds and paths, what was sent again counted once."""
    steps = [(event.kind, event.path) for event in history.events]
    return tuple(step for at, step in enumerate(steps) if at == 0 or step != steps[at - 1])


def main() -> None:
    seen: dict[object, History] = {}
    for history in histories(sys.argv[1]):
        seen.setdefault(way(history), history)
    for history in seen.values():
        print(msgspec.json.encode(history).decode())


if __name__ == "__main__":
    main()
