"""Groups: questions that come during a call form the next group; a failing question fails only itself."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import pytest

from holdfast.runtime import request_batcher
from holdfast.runtime.problems import Problem
from holdfast.runtime.request_batcher import RequestBatcher


class Down(Exception):
    """Nobody's fault."""


class Server:
    """Doubles numbers and remembers the groups; 1313 raises a bug, 9999 a transient failure."""

    def __init__(self) -> None:
        self.groups: list[list[int]] = []
        self.under_way = self.most_under_way = 0
        self.begun = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self, questions: Sequence[int]) -> list[int]:
        self.groups.append(list(questions))
        self.begun.set()
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        await self.gate.wait()
        self.under_way -= 1
        if 9999 in questions:
            raise Down
        if 1313 in questions:
            raise ValueError("thirteen")
        return [2 * question for question in questions]


def run(scenario: Callable[[Server], Awaitable[None]]) -> None:
    async def main() -> None:
        async with asyncio.timeout(20):
            await scenario(Server())

    asyncio.run(main())


def test_each_caller_gets_its_own_answer_and_many_form_one_group() -> None:
    async def scenario(server: Server) -> None:
        group = RequestBatcher(server)
        assert await asyncio.gather(*(group.ask(n) for n in range(50))) == [2 * n for n in range(50)]
        assert server.groups == [list(range(50))]
        assert (group.groups, group.questions) == (1, 50)

    run(scenario)


def test_who_comes_while_a_group_is_served_is_the_next_group() -> None:
    async def scenario(server: Server) -> None:
        group = RequestBatcher(server)
        server.gate.clear()
        first = asyncio.create_task(group.ask(1))
        await server.begun.wait()
        rest = [asyncio.create_task(group.ask(n)) for n in (2, 3)]
        await asyncio.sleep(0)
        server.gate.set()
        assert await asyncio.gather(first, *rest) == [2, 4, 6]
        assert server.groups == [[1], [2, 3]]
        assert server.most_under_way == 1

    run(scenario)


def test_a_question_right_after_the_last_answer_is_served_too() -> None:
    """Between the end of a group and the end of its task no question may be lost."""

    async def scenario(server: Server) -> None:
        group = RequestBatcher(server)
        for n in range(200):
            assert await group.ask(n) == 2 * n

    run(scenario)


def test_groups_at_once_and_their_sizes_are_bounded() -> None:
    async def scenario(server: Server) -> None:
        group = RequestBatcher(server, groups_at_once=2, group_max=3)
        server.gate.clear()
        asking = [asyncio.create_task(group.ask(n)) for n in range(20)]
        await server.begun.wait()
        for _ in range(10):  # every chance to begin a third group
            await asyncio.sleep(0)
        server.gate.set()
        assert await asyncio.gather(*asking) == [2 * n for n in range(20)]
        assert max(map(len, server.groups)) == 3
        assert server.most_under_way == 2

    run(scenario)


def test_a_failing_question_is_found_by_asking_each_alone() -> None:
    async def scenario(server: Server) -> None:
        group = RequestBatcher(server, transient=(Down,))
        answers = await asyncio.gather(*(group.ask(n) for n in (12, 1313, 14)), return_exceptions=True)
        assert answers[0::2] == [24, 28]
        assert isinstance(answers[1], ValueError)
        assert server.groups == [[12, 1313, 14], [12], [1313], [14]]

    run(scenario)


def test_a_transient_failure_is_the_whole_groups_and_no_question_is_asked_alone() -> None:
    async def scenario(server: Server) -> None:
        group = RequestBatcher(server, transient=(Down,))
        answers = await asyncio.gather(*(group.ask(n) for n in (1, 9999, 3)), return_exceptions=True)
        assert [type(answer) for answer in answers] == [Down, Down, Down]
        assert len(server.groups) == 1
        assert await group.ask(4) == 8

    run(scenario)


def test_who_has_left_is_not_missed() -> None:
    async def scenario(server: Server) -> None:
        group = RequestBatcher(server)
        server.gate.clear()
        leaving, staying = asyncio.create_task(group.ask(1)), asyncio.create_task(group.ask(2))
        await server.begun.wait()
        leaving.cancel()
        server.gate.set()
        assert await staying == 4
        assert await group.ask(3) == 6

    run(scenario)


def test_too_many_in_the_queue_are_sent_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_batcher, "WAITING_MAX", 5)

    async def scenario(server: Server) -> None:
        group = RequestBatcher(server)
        answers = await asyncio.gather(*(group.ask(n) for n in range(7)), return_exceptions=True)
        assert answers[:5] == [0, 2, 4, 6, 8]
        for refused in answers[5:]:
            assert isinstance(refused, Problem)
            assert (refused.kind.code, refused.headers) == ("overloaded", {"Retry-After": "1"})

    run(scenario)


class Held(Exception):
    """Trouble of some questions."""


def test_a_transient_failure_of_one_question_goes_to_its_caller_alone() -> None:
    tries: list[int] = []

    async def serve(questions: Sequence[int]) -> list[int]:
        tries.append(len(questions))
        if 7 in questions:
            raise Held
        return list(questions)

    async def scenario() -> None:
        groups: RequestBatcher[int, int] = RequestBatcher(
            serve, transient=(Held,), of_some=(Held,), linger_s=0.01
        )
        answers = await asyncio.gather(*map(groups.ask, range(32)), return_exceptions=True)
        assert [n for n, answer in enumerate(answers) if answer != n] == [7]
        assert isinstance(answers[7], Held)

    asyncio.run(scenario())
    assert len(tries) == 11


def test_a_transient_failure_of_all_questions_is_not_searched_for_long() -> None:
    tries: list[int] = []

    async def serve(questions: Sequence[int]) -> list[int]:
        tries.append(len(questions))
        raise Held

    async def scenario() -> None:
        groups: RequestBatcher[int, int] = RequestBatcher(
            serve, transient=(Held,), of_some=(Held,), linger_s=0.01
        )
        answers = await asyncio.gather(*map(groups.ask, range(256)), return_exceptions=True)
        assert all(isinstance(answer, Held) for answer in answers)

    asyncio.run(scenario())
    assert len(tries) <= 2 * request_batcher.SEARCHES_MAX + 1
