"""A commit's conversation with the group, with a client whose answers are written down."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import cast

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException
from confluent_kafka import TopicPartition as KafkaPlace

from holdfast.bus.kafka import commits as kafka_commits
from holdfast.bus.kafka.commits import Commits, Offsets
from holdfast.bus.port import BusUnavailable, TopicPartition

TIMEOUT_S = 10.0
ASKED: Offsets = {TopicPartition("t", 0): 5, TopicPartition("t", 1): 7}
Answer = Callable[[Commits, list[KafkaPlace]], None]


class Clock:
    """A clock that advances only in waits."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class Group:
    """Answers each commit with the next of its answers; to one more it says nothing."""

    def __init__(self, commits: Commits, *answers: Answer) -> None:
        self.clock = cast("Clock", vars(kafka_commits)["time"])
        self.commits = commits
        self.answers = list(answers)
        self.sent: list[list[KafkaPlace]] = []
        self.waiting: list[list[KafkaPlace]] = []

    def ask(self, offsets: Offsets) -> KafkaError | None:
        return self.commits.ask(cast("Consumer", self), offsets, self.serve)

    def commit(self, *, offsets: list[KafkaPlace], asynchronous: bool) -> None:
        assert asynchronous
        self.sent.append(offsets)
        self.waiting.append(offsets)

    def serve(self) -> None:
        self.clock.sleep(1.0)
        while self.waiting and self.answers:
            self.answers.pop(0)(self.commits, self.waiting.pop(0))


class BrokenClient(Group):
    def commit(self, *, offsets: list[KafkaPlace], asynchronous: bool) -> None:
        raise KafkaException(KafkaError(KafkaError._TRANSPORT))


def says(name: str) -> Answer:
    """Refuse, or take with an empty name."""
    error = KafkaError(getattr(KafkaError, name)) if name else None
    return lambda commits, places: commits.answered(error, places)


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(kafka_commits, "time", clock)
    return clock


@pytest.fixture
def commits() -> Commits:
    return Commits(TIMEOUT_S, lambda: True)


def test_taken(commits: Commits) -> None:
    group = Group(commits, says(""))
    assert group.ask(ASKED) is None
    assert [(p.topic, p.partition, p.offset) for p in group.sent[0]] == [("t", 0, 5), ("t", 1, 7)]
    assert commits.open == 0


@pytest.mark.parametrize("name", ["UNKNOWN_MEMBER_ID", "NOT_COORDINATOR"])
def test_refused(commits: Commits, name: str) -> None:
    group = Group(commits, says(name))
    refusal = group.ask(ASKED)
    assert refusal is not None
    assert refusal.name() == name
    assert len(group.sent) == 1


def test_one_partition_refused_is_refused(commits: Commits) -> None:
    def one(commits: Commits, places: list[KafkaPlace]) -> None:
        error = KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART)
        second = SimpleNamespace(topic="t", partition=1, offset=7, error=error)  # the real one's is read-only
        commits.answered(None, [places[0], cast("KafkaPlace", second)])

    group = Group(commits, one)
    refusal = group.ask(ASKED)
    assert refusal is not None
    assert refusal.name() == "UNKNOWN_TOPIC_OR_PART"


def test_a_new_generation_is_asked_again(commits: Commits) -> None:
    group = Group(commits, says("ILLEGAL_GENERATION"), says("REBALANCE_IN_PROGRESS"), says(""))
    assert group.ask(ASKED) is None
    assert len(group.sent) == 3
    assert commits.open == 0


def test_ever_new_generations_are_not_asked_without_end(commits: Commits, clock: Clock) -> None:
    group = Group(commits, *[says("ILLEGAL_GENERATION")] * 10_000)
    refusal = group.ask(ASKED)
    assert refusal is not None
    assert refusal.name() == "ILLEGAL_GENERATION"
    assert TIMEOUT_S <= clock.now < TIMEOUT_S + 0.1
    assert commits.open == 0


def test_who_was_expelled_does_not_ask_again() -> None:
    commits = Commits(TIMEOUT_S, lambda: False)
    group = Group(commits, says("ILLEGAL_GENERATION"), says(""))
    refusal = group.ask(ASKED)
    assert refusal is not None
    assert refusal.name() == "ILLEGAL_GENERATION"
    assert len(group.sent) == 1


def test_a_lost_assignment_ends_the_waiting(commits: Commits) -> None:
    group = Group(commits, lambda commits, _: commits.lost())
    refusal = group.ask(ASKED)
    assert refusal is not None
    assert refusal.name() == "_ASSIGNMENT_LOST"
    assert commits.open == 1


def test_no_answer_is_not_waited_for_without_end(commits: Commits, clock: Clock) -> None:
    group = Group(commits)
    with pytest.raises(BusUnavailable):
        group.ask(ASKED)
    assert TIMEOUT_S <= clock.now < TIMEOUT_S + 2
    assert commits.open == 1


def test_a_late_answer_is_not_taken_for_another_commits(commits: Commits) -> None:
    late = Group(commits)
    with pytest.raises(BusUnavailable):
        late.ask({TopicPartition("t", 0): 1})

    def first_the_late_one(commits: Commits, places: list[KafkaPlace]) -> None:
        commits.answered(None, late.waiting.pop())
        assert not commits._answers
        commits.answered(KafkaError(KafkaError.UNKNOWN_MEMBER_ID), places)

    group = Group(commits, first_the_late_one)
    refusal = group.ask(ASKED)
    assert refusal is not None
    assert refusal.name() == "UNKNOWN_MEMBER_ID"
    assert commits.open == 0


def test_a_client_that_cannot_send_is_unavailable(commits: Commits) -> None:
    with pytest.raises(BusUnavailable):
        BrokenClient(commits).ask(ASKED)
    assert commits.open == 0
