"""Clearing a cart: what the snapshot held goes, what was added since stays (protocol, lines 9 and 24)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.samples import saga_id
from tests.unit.services.commands import Command, Participating

from holdfast.contracts.codec import encode
from holdfast.contracts.messages import CartCleared, ClearCart, Line, Refused
from holdfast.services.cart_crud.domain import Cart, CartBatch, Clearance
from holdfast.services.cart_crud.handlers import CartParticipant
from holdfast.services.cart_crud.memory_store import MemoryCartTransaction

A, B = saga_id(1), saga_id(2)


def cart(*pieces: tuple[str, int], version: int = 5, held: str = "") -> Cart:
    return Cart("cart-1", "ada", version, pieces, held)


def clear(*bought: tuple[str, int], cart_id: str = "cart-1") -> ClearCart:
    return ClearCart("ada", cart_id, 3, tuple(Line(sku, n, 100) for sku, n in bought))


def cleared(before: Cart, *bought: tuple[str, int]) -> tuple[Cart, Clearance]:
    """Clear the cart; return what is left of it, and what was logged."""
    rows = CartBatch({("cart-1", "ada"): before})
    assert rows.clear(A, clear(*bought)) == CartCleared(before.version + 1, clear(*bought).cart_version)
    return rows.carts["cart-1", "ada"], rows.clearances[0]


def test_what_was_bought_goes_and_what_was_added_since_stays_in_its_order() -> None:
    left, log = cleared(cart(("pot", 1), ("mug", 5), ("lamp", 2)), ("mug", 3), ("lamp", 2))
    assert left == cart(("pot", 1), ("mug", 2), version=6)
    assert log == Clearance(A, "cart-1", "ada", 6, (("lamp", 2, 2), ("mug", 5, 3)))


def test_what_the_shopper_took_out_meanwhile_is_not_taken_twice() -> None:
    left, log = cleared(cart(("mug", 1)), ("mug", 3), ("pot", 2))
    assert left.pieces == ()
    assert log.taken == (("mug", 1, 1), ("pot", 0, 0))


def test_a_code_on_two_lines_of_the_snapshot_is_summed() -> None:
    left, log = cleared(cart(("mug", 5)), ("mug", 1), ("mug", 2))
    assert left.pieces == (("mug", 2),)
    assert log.taken == (("mug", 5, 3),)


def test_line_9_a_cart_that_was_deleted_counts_as_cleared() -> None:
    rows = CartBatch({})
    assert rows.clear(A, clear(("mug", 1))) == CartCleared(3, 3)
    assert rows.clearances == [Clearance(A, "cart-1", "ada", 3, ())]
    assert not rows.changed


def test_line_9_a_held_cart_is_a_refusal_and_stays_as_it_is() -> None:
    rows = CartBatch({("cart-1", "ada"): cart(("mug", 1), held="fraud check")})
    refused = rows.clear(A, clear(("mug", 1)))
    assert isinstance(refused, Refused)
    assert refused.reason == "cart_on_hold"
    assert "fraud check" in refused.detail
    assert not rows.changed
    assert not rows.clearances


# -- behind the fence


def harness(*carts: Cart) -> Participating:
    harness = Participating(CartParticipant(), MemoryCartTransaction)
    for row in carts:
        harness.store.tables.tables.setdefault("cart", {})[row.key] = row
    return harness


def command(saga: str, *bought: tuple[str, int], cart_id: str = "cart-1") -> Command:
    return Command(saga, "ClearCart", clear(*bought, cart_id=cart_id))


def test_line_24_the_version_counts_up_once_per_saga_however_often_it_is_asked() -> None:
    carts = harness(cart(("mug", 5)))
    first = carts.hear(command(A, ("mug", 1)), command(A, ("mug", 1))).messages_to_seal
    again = carts.hear(command(A, ("mug", 1))).messages_to_seal
    assert {reply.value for reply in [*first, *again]} == {b'{"version_left":6,"cart_version":3}'}
    assert carts.rows("cart")["cart-1", "ada"] == cart(("mug", 4), version=6)
    assert list(carts.rows("clear_log")) == [A]


def test_two_sagas_of_one_cart_in_one_batch_each_take_their_own() -> None:
    carts = harness(cart(("mug", 5), ("pot", 5)))
    replies = carts.hear(command(A, ("mug", 5)), command(B, ("pot", 1), ("mug", 1))).messages_to_seal
    assert [reply.value for reply in replies] == [encode(CartCleared(6, 3)), encode(CartCleared(7, 3))]
    assert carts.rows("cart")["cart-1", "ada"] == cart(("pot", 4), version=7)


def test_line_9_a_refusal_stands_even_when_the_hold_is_released() -> None:
    carts = harness(cart(("mug", 1), held="x"))
    assert carts.answers(command(A, ("mug", 1))) == ["CartClearanceFailed"]
    carts.rows("cart")["cart-1", "ada"] = cart(("mug", 1))
    assert carts.answers(command(A, ("mug", 1))) == ["CartClearanceFailed"]
    assert carts.rows("cart")["cart-1", "ada"] == cart(("mug", 1))


def test_line_5_clearing_never_expires() -> None:
    carts = harness(cart(("mug", 1)))
    carts.now_ms += 100 * 365 * 86_400_000
    assert carts.answers(command(A, ("mug", 1))) == ["CartCleared"]


def test_of_two_carts_of_one_id_only_its_buyers_is_cleared() -> None:
    hers = cart(("mug", 5))._replace(user_id="eve")
    carts = harness(cart(("mug", 5)), hers)
    assert carts.answers(command(A, ("mug", 2))) == ["CartCleared"]
    assert carts.rows("cart")["cart-1", "ada"].pieces == (("mug", 3),)
    assert carts.rows("cart")["cart-1", "eve"] == hers
    assert carts.rows("clear_log")[A].user_id == "ada"


@pytest.mark.parametrize("missing", [True, False])
def test_a_missing_cart_in_a_batch_disturbs_no_other(missing: bool) -> None:
    carts = harness(cart(("mug", 1)))
    other = command(B, ("mug", 1), cart_id="gone" if missing else "cart-1")
    assert carts.answers(command(A, ("mug", 1)), other) == ["CartCleared", "CartCleared"]
    assert carts.rows("cart")["cart-1", "ada"].pieces == ()


PIECES = st.dictionaries(st.sampled_from(["mug", "pot", "lamp", "rug"]), st.integers(1, 9), max_size=4)


@given(PIECES, PIECES.filter(bool))
def test_each_code_loses_what_was_bought_but_never_more_than_was_there(
    before: dict[str, int], bought: dict[str, int]
) -> None:
    left, log = cleared(cart(*before.items()), *bought.items())
    for sku in {*before, *bought}:
        was, taken = before.get(sku, 0), min(before.get(sku, 0), bought.get(sku, 0))
        assert dict(left.pieces).get(sku, 0) == was - taken
        if sku in bought:
            assert (sku, was, taken) in log.taken
    assert all(n > 0 for _, n in left.pieces)


def test_a_late_copy_after_pruning_is_answered_as_before_and_clears_nothing_more() -> None:
    carts = harness(cart(("mug", 5)))
    first = carts.hear(command(A, ("mug", 1))).messages_to_seal
    carts.rows("fence").clear()
    late = carts.hear(*[command(A, ("mug", 1))] * 242, command(B, ("mug", 1)))
    assert [reply.value for reply in late.messages_to_seal[:242]] == [first[0].value] * 242
    assert late.parked == []
    assert carts.rows("cart")["cart-1", "ada"] == cart(("mug", 3), version=7)
    assert list(carts.rows("clear_log")) == [A, B]
