"""Answers the questions of many callers with one call: those that come during one call form the next group.

Only the function `serve` knows what a question means. If a group fails, each question is asked alone.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from holdfast.runtime.problems import OVERLOADED, Problem

GROUP_MAX = 256
WAITING_MAX = 4_096
SEARCHES_MAX = 8

Q = TypeVar("Q")
A = TypeVar("A")


class RequestBatcher(Generic[Q, A]):
    """Calls `serve` with groups; it returns the answers in order. At most `groups_at_once` calls run at once.

    A group begins `linger_s` after its first question, so that others can join it. One event loop only.
    `transient` names the exceptions that no question caused: the whole group gets them. `of_some` names the
    ones that only some questions caused: those are found by halving the group, in at most SEARCHES_MAX tries.
    """

    def __init__(
        self,
        serve: Callable[[Sequence[Q]], Awaitable[Sequence[A]]],
        *,
        transient: tuple[type[Exception], ...] = (),
        of_some: tuple[type[Exception], ...] = (),
        groups_at_once: int = 1,
        linger_s: float = 0.0,
        group_max: int = GROUP_MAX,
    ) -> None:
        self._serve = serve
        self._transient_failures = transient
        self._of_some = of_some
        self._groups_max = groups_at_once
        self._linger_s = linger_s
        self._group_max = group_max
        self._waiting: list[tuple[Q, asyncio.Future[A]]] = []
        self._busy = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self.groups = 0
        self.questions = 0

    async def ask(self, question: Q) -> A:
        """Return the answer to this question. Raises what `serve` raised for it; Problem if too many wait."""
        if len(self._waiting) >= WAITING_MAX:
            raise Problem(OVERLOADED, headers={"Retry-After": "1"})
        future: asyncio.Future[A] = asyncio.get_running_loop().create_future()
        self._waiting.append((question, future))
        if self._busy < self._groups_max:
            self._busy += 1
            task = asyncio.create_task(self._work())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return await future

    async def _work(self) -> None:
        """Serve groups until no question waits; no other code runs between that check and `_busy -= 1`."""
        try:
            await asyncio.sleep(self._linger_s)
            while self._waiting:
                group = self._waiting[: self._group_max]
                del self._waiting[: self._group_max]
                self.groups += 1
                self.questions += len(group)
                await self._serve_group(group)
        finally:
            self._busy -= 1

    async def _serve_group(self, group: Sequence[tuple[Q, "asyncio.Future[A]"]]) -> None:
        searches_left = SEARCHES_MAX
        todo = [group]
        while todo:
            part = todo.pop()
            try:
                await self._serve_part(part)
            except self._of_some as error:
                searches_left -= 1
                if len(part) == 1 or searches_left < 0:
                    _fail(part, error)
                else:
                    middle = len(part) // 2
                    todo += [part[middle:], part[:middle]]

    async def _serve_part(self, group: Sequence[tuple[Q, "asyncio.Future[A]"]]) -> None:
        try:
            answers = await self._serve([question for question, _ in group])
        except self._of_some:
            raise
        except self._transient_failures as error:
            _fail(group, error)
        except Exception as error:  # noqa: BLE001 - one question caused it: only its caller must get it
            if len(group) == 1:
                _fail(group, error)
                return
            for single in group:
                await self._serve_group([single])
        else:
            for (_, future), answer in zip(group, answers, strict=True):
                if not future.done():
                    future.set_result(answer)


def _fail(group: "Sequence[tuple[Q, asyncio.Future[A]]]", error: Exception) -> None:
    for _, future in group:
        if not future.done():
            future.set_exception(error)
