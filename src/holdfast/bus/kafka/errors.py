"""What librdkafka's errors mean in the port's terms.

One table by librdkafka's names (names of its own errors begin with _); nothing here talks to Kafka.
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
"""Answers to a commit if the sender is no longer a member, or its generation is over for good."""

NEW_GENERATION = frozenset({"ILLEGAL_GENERATION", "REBALANCE_IN_PROGRESS"})
"""Answers to a commit that met a rebalance: a member of the new generation may commit again."""

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
"""Delivery errors that come again at every repeat."""

FORBIDDEN = frozenset(
    {
        "_AUTHENTICATION",
        "SASL_AUTHENTICATION_FAILED",
        "TOPIC_AUTHORIZATION_FAILED",
        "GROUP_AUTHORIZATION_FAILED",
        "CLUSTER_AUTHORIZATION_FAILED",
    }
)
"""The cluster refuses our name or password, or forbids the call."""

OURS = frozenset({"_INVALID_ARG", "_CONFLICT", "_NOT_CONFIGURED", "_NOT_IMPLEMENTED", "_UNSUPPORTED_FEATURE"})
"""Mistakes of the caller: waiting does not help."""


def error_of(exception: KafkaException) -> KafkaError:
    """Return the KafkaError of a KafkaException."""
    error = exception.args[0]
    assert isinstance(error, KafkaError)
    return error


def unavailable(exception: KafkaException) -> Exception:
    """Return what a failed call raises: BusUnavailable, or the exception itself if waiting does not help."""
    error = error_of(exception)
    if error.name() in FORBIDDEN:
        return BusForbidden(text(error))
    return exception if error.name() in OURS or error.fatal() else BusUnavailable(text(error))


def text(error: KafkaError) -> str:
    """Return the error's text with its name, because people search for the name."""
    return f"{error.name()}: {error.str()}"
