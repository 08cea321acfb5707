"""What librdkafka's errors mean in the port's words.

One table, by librdkafka's names (those of its own making begin with _); nothing here talks to Kafka.
"""

from confluent_kafka import KafkaError, KafkaException

from holdfast.bus.port import BusForbidden, BusUnavailable

NOT_OWNER = frozenset(
    {
        "ILLEGAL_GENERATION",
        "UNKNOWN_MEMBER_ID",
        "FENCED_INSTANCE_ID",
        "FENCED_MEMBER_EPOCH",
        "STALE_MEMBER_EPOCH",
        "_ASSIGNMENT_LOST",
        "_MAX_POLL_EXCEEDED",
    }
)
"""Answers to a commit of one who is no member any more, or of an old generation for good."""

NEW_GENERATION = frozenset({"ILLEGAL_GENERATION", "REBALANCE_IN_PROGRESS"})
"""Answers to a commit that met a rebalance on its way: who is in the new generation may ask again."""

REFUSED = frozenset(
    {
        "MSG_SIZE_TOO_LARGE",
        "RECORD_LIST_TOO_LARGE",
        "INVALID_RECORD",
        "TOPIC_EXCEPTION",
        "UNKNOWN_TOPIC_OR_PART",
        "_UNKNOWN_TOPIC",
        "_UNKNOWN_PARTITION",
    }
)
"""Delivery errors that no repeat will mend."""

FORBIDDEN = frozenset(
    {
        "_AUTHENTICATION",
        "SASL_AUTHENTICATION_FAILED",
        "TOPIC_AUTHORIZATION_FAILED",
        "GROUP_AUTHORIZATION_FAILED",
        "CLUSTER_AUTHORIZATION_FAILED",
    }
)
"""The cluster does not believe who we are, or does not let us."""

OURS = frozenset({"_INVALID_ARG", "_CONFLICT", "_NOT_CONFIGURED", "_NOT_IMPLEMENTED", "_UNSUPPORTED_FEATURE"})
"""Mistakes of the caller, which waiting does not mend either."""


def error_of(exception: KafkaException) -> KafkaError:
    """Return what a KafkaException carries."""
    error = exception.args[0]
    assert isinstance(error, KafkaError)
    return error


def unavailable(exception: KafkaException) -> Exception:
    """Return what a failed call raises: BusUnavailable, or the exception itself where waiting is in vain."""
    error = error_of(exception)
    if error.name() in FORBIDDEN:
        return BusForbidden(text(error))
    return exception if error.name() in OURS or error.fatal() else BusUnavailable(text(error))


def text(error: KafkaError) -> str:
    """Say an error with its name, which is what people search for."""
    return f"{error.name()}: {error.str()}"
