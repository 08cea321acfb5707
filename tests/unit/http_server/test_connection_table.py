"""Who gives way when there is no room, decided without a socket."""

import asyncio
import math
import resource
from collections.abc import Callable

import pytest

from holdfast.http_server.connection_table import REFUSED_AT_ONCE_MAX, ConnectionTable
from holdfast.http_server.limits import LOOPBACK, Limits
from holdfast.runtime import open_files


class Dummy:
    """A connection that remembers what was done to it."""

    def __init__(self) -> None:
        self.deadline = self.answer_deadline = math.inf
        self.gave_way = False

    def expire(self, now: float) -> None:
        raise AssertionError(f"nothing here has a deadline, least of all at {now}")

    def give_way(self) -> None:
        self.gave_way = True


def in_loop(scenario: Callable[[ConnectionTable], None], **limits: int) -> None:
    async def main() -> None:
        scenario(ConnectionTable(Limits(proxies=LOOPBACK, **limits)))

    asyncio.run(main())


def admit(table: ConnectionTable, host: str, *, waits: bool = True) -> Dummy | None:
    made = Dummy()
    if not table.admit(made, host):
        return None
    if waits:
        table.waits(made)
    return made


def some(table: ConnectionTable, host: str, *, waits: bool = True) -> Dummy:
    made = admit(table, host, waits=waits)
    assert made is not None
    return made


def test_the_longest_waiting_gives_way_and_work_never_does() -> None:
    def scenario(table: ConnectionTable) -> None:
        busy = some(table, "10.0.0.1", waits=False)
        first, second = some(table, "10.0.0.2"), some(table, "10.0.0.3")
        table.waits(first)  # it has just been served: now the second waits longest
        some(table, "10.0.0.4", waits=False)
        assert (busy.gave_way, first.gave_way, second.gave_way) == (False, False, True)
        some(table, "10.0.0.5", waits=False)
        assert first.gave_way
        assert admit(table, "10.0.0.6") is None, "all are at work"
        assert (table.open, table.waiting, table.refused["gave_way"]) == (3, 0, 2)

    in_loop(scenario, connections_max=3)


def test_a_client_over_its_limit_loses_its_own_and_no_other() -> None:
    def scenario(table: ConnectionTable) -> None:
        other = some(table, "10.0.0.9")
        mine = [some(table, "10.0.0.1") for _ in range(3)]
        assert [each.gave_way for each in mine] == [True, False, False]
        assert not other.gave_way
        for each in mine[1:]:
            table.works(each)
        assert admit(table, "10.0.0.1") is None
        table.remove(mine[1])
        assert admit(table, "10.0.0.1") is not None

    in_loop(scenario, connections_per_client_max=2)


def test_addresses_of_one_client_count_together_and_proxies_do_not() -> None:
    def scenario(table: ConnectionTable) -> None:
        first = some(table, "2001:db8::1")
        some(table, "2001:db8::2")
        some(table, "2001:db8::3")
        assert first.gave_way, "one /64 is one client"
        behind = [some(table, "127.0.0.1") for _ in range(5)]
        assert not any(each.gave_way for each in behind)

    in_loop(scenario, connections_per_client_max=2)


def test_what_left_takes_nobodys_place_and_leaves_nothing_behind() -> None:
    def scenario(table: ConnectionTable) -> None:
        for _ in range(100):
            made = some(table, "10.0.0.1")
            table.remove(made)
            table.remove(made)
            table.waits(made)
        assert (table.open, table.waiting, table._clients) == (0, 0, {})

    in_loop(scenario, connections_max=2, connections_per_client_max=1)


def test_so_many_are_told_that_there_is_no_room_and_no_more() -> None:
    def scenario(table: ConnectionTable) -> None:
        turned_away = [Dummy() for _ in range(REFUSED_AT_ONCE_MAX)]
        assert all(table.turn_away(each) for each in turned_away)
        assert not table.turn_away(Dummy())
        table.remove(turned_away[0])
        assert table.turn_away(Dummy())

    in_loop(scenario)


@pytest.mark.parametrize(("hard", "left"), [(4_096, 4_096 - open_files.RESERVED), (100, 1)])
def test_a_listener_leaves_files_for_the_rest_of_the_process(
    hard: int, left: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_to: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (50, hard))
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: set_to.append(limits))
    assert open_files.raise_limit() == left
    assert set_to == [(hard, hard)]
