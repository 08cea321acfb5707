"""What the writer does by time between batches: deadlines, outcome requests, stale outbox rows, counts."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from holdfast.messaging.store import Transaction

if TYPE_CHECKING:
    from holdfast.messaging.consumer import KafkaConsumerManager

T = TypeVar("T", bound=Transaction)


@dataclass
class PeriodicTask(Generic[T]):
    """Work that the writer does every `every_ms`; `run_once` commits through the manager that it is given."""

    name: str
    every_ms: int
    run_once: Callable[["KafkaConsumerManager[T]"], None]
    due_ms: int = 0
