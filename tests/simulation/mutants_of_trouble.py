"""Mutants of what is trouble and what is a message's fault, and of topics that change; each with its test."""

from typing import Any
from unittest.mock import patch

from tests.simulation.mutant import Broken
from tests.simulation.mutants_by_rule import MutantByRule
from tests.unit.messaging import test_suspects, test_topic_watch
from tests.unit.messaging.kernel_harness import KernelHarness

from holdfast.messaging.batch_processor import BatchProcessor
from holdfast.messaging.suspects import FAILURES_MIN, Suspects
from holdfast.messaging.topic_watch import TopicWatch


def three_refusals_are_proof_enough() -> Broken:
    real = Suspects.refused

    def refused(self: Any, record: Any) -> int | None:
        found = real(self, record)
        failures = int(self._found[record.place, record.offset].failures)
        return found or (failures if failures >= FAILURES_MIN else None)

    return patch.object(Suspects, "refused", refused)


def every_type_exculpates_every_other() -> Broken:
    real = Suspects.handled

    def handled(self: Any, records: Any) -> None:
        real(self, records)
        for suspicion in self._found.values():
            suspicion.others_succeed |= suspicion.since_round < self._round

    return patch.object(Suspects, "handled", handled)


def nobody_probes_the_database() -> Broken:
    return patch.object(BatchProcessor, "probe_writes", lambda _: None)


def a_new_topic_is_taken_for_the_old_one() -> Broken:
    return patch.object(TopicWatch, "_compare_ids", lambda *_: None)


def _a_whole_type() -> None:
    test_suspects.test_a_message_whose_type_is_refused_altogether_is_never_parked(KernelHarness())


def _another_type() -> None:
    test_suspects.test_messages_of_another_type_prove_nothing_and_need_not_wait(KernelHarness())


def _no_writes() -> None:
    test_suspects.check_a_database_that_takes_no_writes(KernelHarness())


def _made_anew() -> None:
    world = test_topic_watch.Watched()
    world.look()
    test_topic_watch.test_a_topic_that_was_made_anew_is_read_from_its_beginning(world)


OF_TROUBLE = [
    MutantByRule("three_refusals_are_proof_enough", _a_whole_type, three_refusals_are_proof_enough),
    MutantByRule("every_type_exculpates_every_other", _another_type, every_type_exculpates_every_other),
    MutantByRule("nobody_probes_the_database", _no_writes, nobody_probes_the_database),
    MutantByRule("a_new_topic_is_taken_for_the_old_one", _made_anew, a_new_topic_is_taken_for_the_old_one),
]
