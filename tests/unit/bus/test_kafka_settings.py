"""The settings of librdkafka on which the promises of the bus depend."""

from confluent_kafka import Consumer, Producer

from holdfast.bus.kafka.settings import KafkaSettings

NOWHERE = "127.0.0.1:1"


def test_librdkafka_knows_every_option() -> None:
    settings = KafkaSettings(NOWHERE, options={"log_level": 0})
    Producer(settings.producer()).close()
    Consumer(settings.consumer("group")).close()


def test_nothing_is_acknowledged_or_committed_behind_our_back() -> None:
    settings = KafkaSettings(NOWHERE)
    producer, consumer = settings.producer(), settings.consumer("group")
    assert (producer["acks"], producer["enable.idempotence"]) == ("all", True)
    assert producer["partitioner"] == "murmur2_random"
    assert (consumer["enable.auto.commit"], consumer["enable.auto.offset.store"]) == (False, False)
    assert (consumer["auto.offset.reset"], consumer["isolation.level"]) == ("earliest", "read_committed")
    assert consumer["check.crcs"] is True


def test_given_options_win_and_none_takes_one_away() -> None:
    settings = KafkaSettings(
        NOWHERE,
        options={"security.protocol": "SSL", "client.id": "other"},
        producer_options={"linger.ms": 0},
        consumer_options={"group.protocol": "consumer", "session.timeout.ms": None},
    )
    for made in (settings.client(), settings.producer(), settings.consumer("group")):
        assert (made["security.protocol"], made["client.id"]) == ("SSL", "other")
    assert settings.producer()["linger.ms"] == 0
    assert "linger.ms" not in settings.consumer("group")
    assert settings.consumer("group")["group.protocol"] == "consumer"
    assert "session.timeout.ms" not in settings.consumer("group")


def test_short_bounds_stay_in_order() -> None:
    settings = KafkaSettings(
        NOWHERE, delivery_timeout_ms=1_000, session_timeout_ms=600, poll_interval_max_ms=1
    )
    producer, consumer = settings.producer(), settings.consumer("group")
    assert producer["request.timeout.ms"] == 1_000
    assert int(producer["topic.metadata.propagation.max.ms"]) < 1_000
    assert int(consumer["heartbeat.interval.ms"]) * 3 <= 600
    assert consumer["max.poll.interval.ms"] == 600


def test_a_cluster_that_is_not_all_up_gets_no_topics_with_one_copy() -> None:
    alone, three = KafkaSettings("a:1"), KafkaSettings("a:1,b:1,c:1")
    assert (alone.replicas(1), alone.replicas(2)) == (1, 3)
    assert (three.replicas(1), three.replicas(3)) == (3, 3)
    assert KafkaSettings("a:1,b:1", replication_factor=2).replicas(1) == 2
