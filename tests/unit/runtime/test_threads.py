"""Threads by kind of work: a slow kind is waited for by that kind alone, and by a bounded number."""

import asyncio
from threading import Event

import pytest

from holdfast.runtime.problems import Problem
from holdfast.runtime.threads import Threads


def test_a_slow_kind_of_work_holds_up_no_other_and_turns_away_what_would_wait_too_long() -> None:
    async def scenario() -> None:
        gate = Event()
        slow, other = Threads("slow", 2, waiting_max=1), Threads("other", 1)
        stuck = [asyncio.create_task(slow.run(gate.wait, 20)) for _ in range(3)]
        await asyncio.sleep(0)
        with pytest.raises(Problem) as refused:
            await slow.run(gate.wait, 20)
        assert refused.value.kind.code == "overloaded"
        assert await other.run(lambda: "served") == "served"
        gate.set()
        assert await asyncio.gather(*stuck) == [True] * 3
        assert await slow.run(lambda: "again") == "again"
        slow.close()
        other.close()

    asyncio.run(scenario())


def test_what_the_work_raises_reaches_its_caller() -> None:
    async def scenario() -> None:
        threads = Threads("one", 1)
        with pytest.raises(ZeroDivisionError):
            await threads.run(lambda: 1 // 0)
        threads.close()

    asyncio.run(scenario())
