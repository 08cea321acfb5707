"""Random batches of commands for a participant's two stores, handled on both by the service's own handler."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from hypothesis import strategies as st
from tests.integration.stores.store_pairs import StorePair
from tests.samples import saga_id

from holdfast.contracts.codec import encode
from holdfast.contracts.messages import Payload
from holdfast.messaging.envelope import Envelope
from holdfast.messaging.handler import Handler


class Command(NamedTuple):
    saga: int
    kind: str
    payload: Payload


Batches = list[tuple[list[Command], bool]]
"""Batches, each with whether its transaction is rolled back."""


def batches(commands: st.SearchStrategy[Command]) -> st.SearchStrategy[Batches]:
    """Draw batches; one in some is rolled back."""
    roll_back = st.sampled_from([False, False, False, True])
    return st.lists(st.tuples(st.lists(commands, min_size=1, max_size=6), roll_back), max_size=8)


def envelopes(commands: Sequence[Command], step: str) -> list[Envelope]:
    """Return the commands as a handler gets them."""
    return [
        Envelope(f"{saga_id(n)}:{step}:{kind}", kind, saga_id(n), payload, encode(payload), 1, None)
        for n, kind, payload in commands
    ]


def handle(store_pair: StorePair, handler: Handler[Any], drawn: Batches, step: str) -> None:
    """Let the handler handle each batch on both; its answers, parked messages and fences must be equal."""

    def work(tx: Any) -> Any:
        handled = handler.handle(tx, heard)
        return handled.messages_to_seal, handled.parked, _fences(tx, step)

    for commands, roll_back in drawn:
        heard = envelopes(commands, step)
        store_pair.transact(work, commit=not roll_back)


def _fences(tx: Any, step: str) -> Any:
    ids = [saga_id(n) for n in range(8)]
    found = tx.lock_fences(step, ids)
    tx.save_fences(step, [], sorted(set(ids) - set(found)))
    return found
