"""librdkafka's errors in the port's words."""

import pytest
from confluent_kafka import KafkaError, KafkaException

from holdfast.bus.kafka.errors import (
    FORBIDDEN,
    NEW_GENERATION,
    NOT_OWNER,
    OURS,
    REFUSED,
    error_of,
    text,
    unavailable,
)
from holdfast.bus.port import BusForbidden, BusUnavailable


def named(name: str, *, fatal: bool = False) -> KafkaException:
    return KafkaException(KafkaError(getattr(KafkaError, name), "what happened", fatal=fatal))


@pytest.mark.parametrize("name", sorted(NOT_OWNER | NEW_GENERATION | REFUSED | OURS | FORBIDDEN))
def test_the_tables_have_names_that_librdkafka_uses(name: str) -> None:
    assert error_of(named(name)).name() == name


def test_the_tables_answer_different_questions() -> None:
    assert not NOT_OWNER & (REFUSED | OURS)
    assert not FORBIDDEN & (NOT_OWNER | NEW_GENERATION | REFUSED | OURS)
    assert not NEW_GENERATION & (REFUSED | OURS)
    assert "REBALANCE_IN_PROGRESS" not in NOT_OWNER


@pytest.mark.parametrize(
    "name", ["_TRANSPORT", "_ALL_BROKERS_DOWN", "_TIMED_OUT", "NOT_COORDINATOR", "TOPIC_AUTHORIZATION_FAILED"]
)
def test_what_may_mend_is_unavailable(name: str) -> None:
    raised = unavailable(named(name))
    assert isinstance(raised, BusUnavailable)
    assert str(raised).startswith(name)


@pytest.mark.parametrize("name", sorted(FORBIDDEN))
def test_a_cluster_that_does_not_let_us_is_waited_for_and_told_apart(name: str) -> None:
    assert isinstance(unavailable(named(name)), BusForbidden)


@pytest.mark.parametrize("name", sorted(OURS))
def test_a_mistake_of_ours_is_not_waited_out(name: str) -> None:
    mistake = named(name)
    assert unavailable(mistake) is mistake


def test_a_fatal_error_is_not_waited_out() -> None:
    fatal = named("FENCED_INSTANCE_ID", fatal=True)
    assert unavailable(fatal) is fatal


def test_an_error_is_told_with_its_name() -> None:
    assert text(error_of(named("_TRANSPORT"))) == "_TRANSPORT: what happened"
