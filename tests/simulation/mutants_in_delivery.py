"""Mutants of message delivery: outbox, relay, outcome requests, offsets, parking, idempotency keys."""

from collections.abc import Iterable, Sequence
from typing import Any
from unittest.mock import patch

from tests.simulation.mutant import Broken, both, mutant

from holdfast.bus.port import Record
from holdfast.contracts.topics import MESSAGES
from holdfast.messaging import envelope
from holdfast.messaging.batch_processor import BatchProcessor, Committed
from holdfast.messaging.consumer import KafkaConsumerManager
from holdfast.messaging.handler import HandlerResult
from holdfast.messaging.ids import uuid7
from holdfast.messaging.message_origin import check_source
from holdfast.messaging.outbox_rescuer import OutboxRescuer
from holdfast.messaging.outcome_poller import OutcomePoller
from holdfast.messaging.relay import Relay
from holdfast.services.gateway_bff.checkout_resender import CheckoutResender
from holdfast.services.gateway_bff.checkout_starter import CheckoutStarter
from holdfast.services.gateway_bff.domain import Accepted, CheckoutRequest, StartResult, checkout_of


@mutant("I11")
def the_outbox_refuses_a_repeated_message_id() -> Broken:
    real = BatchProcessor.commit

    def commit(self: Any, work: Any, *args: Any, **named: Any) -> Any:
        def unique(tx: Any) -> HandlerResult:
            result: HandlerResult = work(tx)
            sent = tx.table("sent")
            result.messages_to_seal = [
                reply for reply in result.messages_to_seal if reply.message_id not in sent
            ]
            sent.update({reply.message_id: True for reply in result.messages_to_seal})
            return result

        return real(self, unique, *args, **named)

    return patch.object(BatchProcessor, "commit", commit)


@mutant("I11")
def nobody_reads_back_what_a_dead_instance_left() -> Broken:
    return patch.object(OutboxRescuer, "run_once", lambda *_: None)


@mutant("I11")
def nobody_asks() -> Broken:
    return patch.object(OutcomePoller, "run_once", lambda *_: None)


@mutant("I11")
def the_gateway_sends_once() -> Broken:
    return patch.object(CheckoutResender, "run_once", lambda *_: None)


@mutant("I29")
def messages_are_published_before_the_commit() -> Broken:
    real_init, real_commit = KafkaConsumerManager.__init__, BatchProcessor.commit

    def init(self: Any, bus: Any, topics: Any, processor: Any, relay: Any, *args: Any, **named: Any) -> None:
        processor.relay = relay
        real_init(self, bus, topics, processor, relay, *args, **named)

    def commit(self: Any, work: Any, *args: Any, **named: Any) -> Any:
        def at_once(tx: Any) -> HandlerResult:
            result: HandlerResult = work(tx)
            self.relay.producer.publish([*map(self._seal, result.messages_to_seal), *result.messages])
            return result

        return real_commit(self, at_once, *args, **named)

    return both(
        patch.object(KafkaConsumerManager, "__init__", init), patch.object(BatchProcessor, "commit", commit)
    )


@mutant("I11")
def the_relay_reads_behind_a_cursor() -> Broken:
    """An instance skips rows before the last that it published; a dead instance may have left such rows."""
    real_done, real_run = Relay._done, OutboxRescuer.run_once

    def done(self: Any, batches: Any) -> None:
        self.cursor = max([getattr(self, "cursor", 0), *(row_id for row_id, _ in batches)])
        real_done(self, batches)

    def run(self: Any, manager: Any) -> None:
        relay, submit = manager.relay, manager.relay.submit_rows

        def beyond(rows: Iterable[Any]) -> None:
            submit([row for row in rows if row[0] > getattr(relay, "cursor", 0)])

        with patch.object(relay, "submit_rows", beyond):
            real_run(self, manager)

    return both(patch.object(Relay, "_done", done), patch.object(OutboxRescuer, "run_once", run))


@mutant("I15")
def offsets_are_committed_before_the_transaction() -> Broken:
    """Lost commands and events are sent again or asked for; a record that should be parked is not."""
    real = KafkaConsumerManager._process

    def process(self: Any, records: list[Any]) -> int:
        self._uncommitted.update((record.place, record.offset + 1) for record in records)
        self._commit_offsets()
        return real(self, records)

    return patch.object(KafkaConsumerManager, "_process", process)


@mutant("I11")
def parking_moves_no_offset() -> Broken:
    real = KafkaConsumerManager._settle

    def settle(self: Any, records: Sequence[Any], committed: Committed) -> None:
        real(self, [] if committed.parked else records, committed)

    return patch.object(KafkaConsumerManager, "_settle", settle)


@mutant("I21")
def a_key_is_kept_outside_the_transaction() -> Broken:
    real = CheckoutStarter._accept

    def accept(self: Any, group: Sequence[CheckoutRequest]) -> list[StartResult]:
        (request,) = group
        key, bits, known = (request.user_id, request.idempotency_key), self._random_80_bits(), []

        def keep(tx: Any) -> HandlerResult:
            keys, now_ms = tx.table("idempotency_key"), tx.now_ms()
            known.extend([Accepted(keys[key])] if key in keys else [])
            keys.setdefault(key, checkout_of(request, str(uuid7(now_ms, bits)), now_ms))
            return HandlerResult()

        self._processor.commit(keep, at="accept")
        if known:
            return [known[0]]
        answers: list[StartResult] = []

        def begin(tx: Any) -> HandlerResult:
            with patch.object(self, "_random_80_bits", lambda: bits):
                answers[:], result = real(self, tx, group)
            if not isinstance(answers[0], Accepted):
                del tx.table("idempotency_key")[key]
            return result

        self._relay.submit(self._processor.commit(begin, at="accept"))
        return answers

    return patch.object(CheckoutStarter, "accept", accept)


@mutant("I15")
def whoever_publishes_a_message_is_believed() -> Broken:
    return patch.object(envelope, "check_source", lambda record, kind, *_args, **_: _first_writer(kind))


def _first_writer(kind: str) -> str:
    return next(iter(MESSAGES[kind].writers))


@mutant("I15")
def what_a_message_says_of_its_source_is_believed() -> Broken:
    real = check_source

    def claimed(record: Record, kind: str, said: bytes | None, *, proven: bool) -> str:
        return real(record, kind, said, proven=False)

    return patch.object(envelope, "check_source", claimed)


@mutant("I15")
def any_id_of_the_saga_is_taken() -> Broken:
    return patch.object(envelope, "check_id", lambda *_: None)
