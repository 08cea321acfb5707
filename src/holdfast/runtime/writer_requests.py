"""Acts that come by HTTP, done by the process's one writer: waited for a moment, never done later unasked.

What is done in the transaction is the service's.
"""

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from holdfast.messaging.consumer import KafkaConsumerManager
from holdfast.messaging.handler import HandlerResult
from holdfast.runtime.problems import unavailable

TIMEOUT_S = 4.0
"""Below what callers wait for an answer, so that they hear of it."""

T = TypeVar("T")


async def on_writer(
    manager: KafkaConsumerManager[Any],
    work: Callable[[Any], tuple[HandlerResult, T]],
) -> T:
    """Return what `work` returns beside its messages, once it is committed. Raises Problem, StoreUnavailable.

    What the writer has not begun in time is taken back; of what it has begun nobody knows, as of any commit
    whose answer was lost: ask again.
    """
    done = asyncio.wrap_future(manager.submit(work))
    try:
        async with asyncio.timeout(TIMEOUT_S):
            result: T = await done
            return result
    except TimeoutError:
        raise unavailable("the writer of this process") from None
