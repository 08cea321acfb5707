"""ProducerManager: publishes a process's batches, guarded by a breaker if the service has one.

An open breaker loses no message and spends no attempt: the batch stays in the outbox.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

from holdfast.bus.port import Bus, BusUnavailable, Message, Publisher, PublishFailed
from holdfast.messaging.crashpoints import crashpoint


class PublishBreaker(Protocol):
    """Admits or refuses calls, and counts how they end (see `breaker`)."""

    def guard(self) -> AbstractContextManager[None]:
        """Admit one call or raise; an exception inside counts as a failure."""

    def is_open(self) -> bool:
        """Tell whether calls are refused, except probes."""


class ProducerManager:
    """Publishes batches over one lazily opened publisher. One thread at a time."""

    def __init__(self, bus: Bus, breaker: PublishBreaker | None = None) -> None:
        self._bus = bus
        self._breaker = breaker
        self._publisher: Publisher | None = None

    def publish(self, batch: Sequence[Message]) -> None:
        """Return when the whole batch is durable.

        Raises BusUnavailable, PublishFailed, BreakerOpen (all: publish it again) or MessageRefused. If the
        bus took a part of the batch, the breaker counts no failure.
        """
        partial_failure: PublishFailed | None = None
        with self._breaker.guard() if self._breaker else nullcontext():
            if self._publisher is None:
                self._publisher = self._bus.publisher()
            crashpoint("publish.before")
            try:
                self._publisher.publish(batch)
            except PublishFailed as error:
                if not error.is_partial(len(batch)):
                    raise
                partial_failure = error
            crashpoint("publish.after")
        if partial_failure is not None:
            raise partial_failure

    def is_open(self) -> bool:
        """Tell whether the breaker refuses calls, except probes."""
        return self._breaker is not None and self._breaker.is_open()

    def close(self) -> None:
        """Close the publisher, which waits a bounded time for what is under way."""
        if self._publisher is not None:
            self._publisher.close()
            self._publisher = None


class BreakerOpen(BusUnavailable):
    """The breaker refuses the call; it admits a probe after `retry_after_s`."""

    def __init__(self, retry_after_s: float) -> None:
        super().__init__(f"the circuit is open for another {retry_after_s:.1f} s")
        self.retry_after_s = retry_after_s
