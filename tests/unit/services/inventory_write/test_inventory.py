"""Stock: taken whole or not at all, given back, sold; no piece is ever made or lost."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.samples import NOT_AFTER_MS, saga_id
from tests.unit.services.commands import Command, Participating, in_batches

from holdfast.contracts.messages import EmptyPayload, InventoryReserved, Line, Refused, ReserveInventory
from holdfast.services.inventory_write.domain import Movement, Stock, StockBatch
from holdfast.services.inventory_write.handlers import InventoryParticipant
from holdfast.services.inventory_write.memory_store import MemoryInventoryTransaction

A, B = saga_id(1), saga_id(2)


def shelves(**pieces: int) -> StockBatch:
    return StockBatch({sku: Stock(sku, n, n, 0, 0) for sku, n in pieces.items()}, {})


def lines(*wanted: tuple[str, int]) -> tuple[Line, ...]:
    return tuple(Line(sku, pieces, 100) for sku, pieces in wanted)


def test_a_reservation_takes_its_pieces_off_the_shelf() -> None:
    rows = shelves(mug=5, pot=2)
    assert rows.reserve(A, lines(("mug", 3), ("pot", 2))) == InventoryReserved(5)
    assert rows.stock == {"mug": Stock("mug", 5, 2, 3, 0), "pot": Stock("pot", 2, 0, 2, 0)}
    assert rows.movements == [Movement(A, "reserve", (("mug", 3), ("pot", 2)))]
    assert rows.changed == {"mug", "pot"}


def test_a_code_that_stands_on_two_lines_is_summed() -> None:
    rows = shelves(mug=5)
    assert rows.reserve(A, lines(("mug", 3), ("mug", 2))) == InventoryReserved(5)
    assert rows.reservations == {A: (("mug", 5),)}
    assert isinstance(shelves(mug=4).reserve(A, lines(("mug", 3), ("mug", 2))), Refused)


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [(("mug", 6), "out_of_stock"), (("lamp", 1), "unknown_product")],
)
def test_a_line_that_cannot_be_had_refuses_all_of_them(wanted: tuple[str, int], reason: str) -> None:
    rows = shelves(mug=5, pot=2)
    refused = rows.reserve(A, lines(("pot", 1), wanted))
    assert isinstance(refused, Refused)
    assert refused.reason == reason
    assert rows == shelves(mug=5, pot=2)


def test_a_release_puts_everything_back_and_a_sale_takes_it_for_good() -> None:
    rows = shelves(mug=5)
    rows.reserve(A, lines(("mug", 3)))
    rows.reserve(B, lines(("mug", 2)))
    rows.release(A)
    rows.sell(B)
    assert rows.stock["mug"] == Stock("mug", 5, 3, 0, 2)
    assert [move.direction for move in rows.movements] == ["reserve", "reserve", "release", "sell"]


# -- behind the fence


def reserve(saga: str, *wanted: tuple[str, int]) -> Command:
    return Command(saga, "ReserveInventory", ReserveInventory(lines(*wanted), NOT_AFTER_MS))


def undo(saga: str) -> Command:
    return Command(saga, "CompensateInventory", EmptyPayload())


def confirm(saga: str) -> Command:
    return Command(saga, "ConfirmInventory", EmptyPayload())


def warehouse(**pieces: int) -> Participating:
    harness = Participating(InventoryParticipant(), MemoryInventoryTransaction)
    with harness.store.transaction() as tx:
        tx.set_initial_stock(list(pieces.items()))
    return harness


def stock(harness: Participating, sku: str) -> tuple[int, int, int]:
    row = harness.rows("stock")[sku]
    return row.on_hand, row.reserved, row.sold


def test_line_26_two_buyers_of_the_last_piece_in_one_batch() -> None:
    harness = warehouse(mug=1)
    answers = harness.answers(reserve(A, ("mug", 1)), reserve(B, ("mug", 1)))
    assert answers == ["InventoryReserved", "InventoryReservationFailed"]
    assert stock(harness, "mug") == (0, 1, 0)


def test_a_piece_released_in_a_batch_can_be_had_in_the_same() -> None:
    harness = warehouse(mug=1)
    answers = harness.answers(reserve(A, ("mug", 1)), undo(A), reserve(B, ("mug", 1)))
    assert answers == ["InventoryReserved", "InventoryCompensated", "InventoryReserved"]
    assert stock(harness, "mug") == (0, 1, 0)


@pytest.mark.parametrize("sizes", [(), (1,), (1, 1), (2,)])
def test_a_reservation_is_released_or_sold_in_this_batch_or_a_later_one(sizes: tuple[int, ...]) -> None:
    for last, expected in ((undo, (5, 0, 0)), (confirm, (3, 0, 2))):
        harness = warehouse(mug=5)
        for batch in in_batches([reserve(A, ("mug", 2)), last(A), last(A)], sizes):
            harness.hear(*batch)
        assert stock(harness, "mug") == expected


def test_a_refused_reservation_holds_nothing_and_its_undo_moves_nothing() -> None:
    harness = warehouse(mug=1)
    assert harness.answers(reserve(A, ("mug", 2))) == ["InventoryReservationFailed"]
    assert harness.answers(undo(A)) == ["InventoryCompensated"]
    assert stock(harness, "mug") == (1, 0, 0)
    assert not harness.rows("stock_movement")


def test_a_second_movement_of_one_saga_and_direction_is_an_error() -> None:
    harness = warehouse(mug=1)
    move = Movement(A, "reserve", (("mug", 1),))
    with harness.store.transaction() as tx:
        tx.insert_movements([move])
    with pytest.raises(ValueError, match="already made its reserve"), harness.store.transaction() as tx:
        tx.insert_movements([move])


def test_stock_can_be_set_again_without_unbalancing_the_books() -> None:
    harness = warehouse(mug=5)
    harness.hear(reserve(A, ("mug", 2)), confirm(A))
    with harness.store.transaction() as tx:
        tx.set_initial_stock([("mug", 9), ("pot", 1)])
        assert tx.list_stock("", 10) == [Stock("mug", 9, 7, 0, 2), Stock("pot", 1, 1, 0, 0)]
        assert tx.list_stock("mug", 10) == [Stock("pot", 1, 1, 0, 0)]
        assert tx.list_stock("", 1) == [Stock("mug", 9, 7, 0, 2)]


SKUS = ("mug", "pot", "lamp")
WANTED = st.lists(st.tuples(st.sampled_from((*SKUS, "ghost")), st.integers(1, 4)), min_size=1, max_size=3)
COMMANDS = st.lists(
    st.builds(
        lambda n, act, wanted: {
            "do": reserve(saga_id(n), *wanted),
            "undo": undo(saga_id(n)),
            "confirm": confirm(saga_id(n)),
        }[act],
        st.integers(1, 4),
        st.sampled_from(["do", "do", "undo", "confirm"]),
        WANTED,
    ),
    max_size=20,
)


@given(COMMANDS, st.lists(st.integers(1, 6), max_size=10), st.integers(0, 8))
def test_pieces_are_conserved_whatever_is_asked_in_whatever_batches(
    commands: list[Command], sizes: list[int], initial: int
) -> None:
    harness = warehouse(**dict.fromkeys(SKUS, initial))
    for batch in in_batches(commands, sizes):
        harness.hear(*batch)
        moves = harness.rows("stock_movement")
        for sku in SKUS:
            row = harness.rows("stock")[sku]
            moved = {
                way: sum(n for (_, d), m in moves.items() if d == way for s, n in m.pieces if s == sku)
                for way in ("reserve", "release", "sell")
            }
            assert min(row.on_hand, row.reserved, row.sold) >= 0
            assert row.on_hand + row.reserved + row.sold == row.initial == initial
            assert row.sold == moved["sell"]
            assert row.reserved == moved["reserve"] - moved["release"] - moved["sell"]
        held = {"DONE": ["reserve"], "UNDONE": ["release", "reserve"], "CONFIRMED": ["reserve", "sell"]}
        for (saga, _), fence in harness.rows("fence").items():
            assert sorted(d for s, d in moves if s == saga) == held.get(fence.state, [])
