"""Runs requests that come over HTTP on the process's one writer; after a timeout they are taken back.

The service decides what `work` does in the transaction.
"""

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from holdfast.messaging.consumer import KafkaConsumerManager
from holdfast.messaging.handler import HandlerResult
from holdfast.runtime.problems import unavailable

TIMEOUT_S = 4.0
"""Shorter than callers wait for an answer, so that they receive the problem."""

T = TypeVar("T")


async def on_writer(
    manager: KafkaConsumerManager[Any],
    work: Callable[[Any], tuple[HandlerResult, T]],
) -> T:
    """Return the second value of `work` once it is committed. Raises Problem, StoreUnavailable.

    If the writer has not begun it in time, it is taken back. If it has begun, the outcome is unknown, as of
    any commit whose answer was lost: the caller must ask again.
    """
    committed = asyncio.wrap_future(manager.submit(work))
    try:
        async with asyncio.timeout(TIMEOUT_S):
            result: T = await committed
            return result
    except TimeoutError:
        raise unavailable("the writer of this process") from None
