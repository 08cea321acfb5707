"""Who writes and who reads each topic, as the buses are told it."""

import pytest

from holdfast.contracts.topics import (
    CART,
    EVENTS,
    GATEWAY,
    INVENTORY,
    ORCHESTRATOR,
    PAYMENT,
    PAYMENT_COMMANDS,
    READS,
    SERVICES,
    TOPICS,
    all_topics,
    dead_letters,
    readers_of,
    writers_of,
)


def test_every_service_writes_events_and_two_read_them() -> None:
    assert writers_of(EVENTS) == frozenset(SERVICES)
    assert readers_of(EVENTS) == frozenset({ORCHESTRATOR, GATEWAY})


def test_commands_are_the_orchestrators_alone() -> None:
    assert writers_of(PAYMENT_COMMANDS) == frozenset({ORCHESTRATOR})
    assert readers_of(PAYMENT_COMMANDS) == frozenset({PAYMENT})


def test_dead_letters_are_written_by_who_reads_the_topic_and_read_by_no_service() -> None:
    for topic in TOPICS:
        assert writers_of(dead_letters(topic)) == readers_of(topic)
        assert readers_of(dead_letters(topic)) == frozenset()


def test_every_topic_that_a_service_subscribes_to_it_may_read() -> None:
    for service, topics in READS.items():
        assert {topic for topic in all_topics() if service in readers_of(topic)} == set(topics)
    assert INVENTORY not in readers_of(PAYMENT_COMMANDS) | writers_of(PAYMENT_COMMANDS)
    assert CART not in readers_of(EVENTS)


@pytest.mark.parametrize("topic", ["checkout.another", "another.dlq", f"{EVENTS}.dlq.dlq"])
def test_a_topic_that_is_not_in_the_table_has_nobody(topic: str) -> None:
    for question in (writers_of, readers_of):
        with pytest.raises(KeyError):
            question(topic)
