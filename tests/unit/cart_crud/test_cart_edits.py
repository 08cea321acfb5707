"""What a shopper may do to a cart, and what it is worth."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.contracts.messages import QUANTITY_MAX, Line
from holdfast.services.cart_crud.cart_edits import (
    Change,
    Edit,
    EditRefused,
    LineMissing,
    Price,
    RemoveOne,
    SetAll,
    SetOne,
    VersionChanged,
    edit,
    snapshot,
)
from holdfast.services.cart_crud.domain import Cart

PRICES = {sku: Price(sku, 100 + n, "GBP") for n, sku in enumerate(("a", "b", "c"))} | {
    "euro": Price("euro", 5, "EUR")
}
MANY = {f"s{n}": Price(f"s{n}", 1, "GBP") for n in range(201)}
CART = Cart("c-1", "ada", 4, (("a", 2), ("b", 1)))


def by_ada(change: Change, if_version: int | None = None) -> Edit:
    return Edit("c-1", "ada", change, if_version)


def test_a_new_cart_begins_at_version_one_with_repeated_codes_summed_in_the_order_they_came() -> None:
    wanted = by_ada(SetAll((("b", 1), ("a", 2), ("b", 3))))
    assert edit(None, wanted, PRICES) == Cart("c-1", "ada", 1, (("b", 4), ("a", 2)))


@pytest.mark.parametrize(
    ("change", "pieces"),
    [
        (SetAll((("c", 1),)), (("c", 1),)),
        (SetAll(()), ()),
        (SetOne("a", 7), (("a", 7), ("b", 1))),
        (SetOne("c", 7), (("a", 2), ("b", 1), ("c", 7))),
        (RemoveOne("a"), (("b", 1),)),
    ],
)
def test_each_change_counts_the_version_up(change: Change, pieces: tuple[tuple[str, int], ...]) -> None:
    assert edit(CART, by_ada(change), PRICES) == CART._replace(version=5, pieces=pieces)


@pytest.mark.parametrize("change", [SetAll(CART.pieces), SetOne("a", 2), RemoveOne("c")])
def test_a_repeat_changes_nothing_not_even_the_version(change: Change) -> None:
    assert edit(CART, by_ada(change), PRICES) is CART


@pytest.mark.parametrize("wanted", [by_ada(SetOne("a", 1)), by_ada(RemoveOne("a")), by_ada(SetAll(()), 0)])
def test_only_a_whole_cart_without_a_condition_makes_one(wanted: Edit) -> None:
    assert edit(None, wanted, PRICES) == LineMissing()


def test_an_edit_for_another_version_is_refused_with_the_one_that_is() -> None:
    assert edit(CART, by_ada(SetAll(()), 3), PRICES) == VersionChanged(4)
    assert edit(CART, by_ada(SetAll(()), -1), PRICES) == VersionChanged(4)
    assert edit(CART, by_ada(SetAll(()), 4), PRICES) == CART._replace(version=5, pieces=())
    assert edit(CART, by_ada(SetAll(()), 0), PRICES) == CART._replace(version=5, pieces=())


@pytest.mark.parametrize(
    ("change", "code", "pointer"),
    [
        (SetAll((("a", 1), ("nope", 1))), "unknown_product", "/lines/1/sku"),
        (SetAll((("a", 1), ("euro", 1))), "mixed_currency", "/lines/1/sku"),
        (SetAll((("a", QUANTITY_MAX), ("a", 1))), "too_many_pieces", "/lines/1/quantity"),
        (SetAll(tuple((sku, 1) for sku in MANY)), "too_many_lines", "/lines/200"),
        (SetOne("nope", 1), "unknown_product", ""),
        (SetOne("euro", 1), "mixed_currency", ""),
    ],
)
def test_an_impossible_edit_names_the_field(change: Change, code: str, pointer: str) -> None:
    refused = edit(CART, by_ada(change), PRICES | MANY)
    assert isinstance(refused, EditRefused)
    assert (refused.code, refused.pointer) == (code, pointer)
    assert "nope" not in refused.detail


def test_a_full_cart_takes_no_further_code_but_more_of_the_same() -> None:
    full = CART._replace(pieces=tuple((sku, 1) for sku in list(MANY)[:200]))
    refused = edit(full, by_ada(SetOne("s200", 1)), MANY)
    assert isinstance(refused, EditRefused)
    assert refused.code == "too_many_lines"
    assert isinstance(edit(full, by_ada(SetOne("s0", 9)), MANY), Cart)


def test_a_snapshot_has_the_price_lists_prices() -> None:
    worth = snapshot(CART, PRICES)
    assert worth.lines == (Line("a", 2, 100), Line("b", 1, 101))
    assert (worth.version, worth.currency, worth.total_minor, worth.refused) == (4, "GBP", 301, "")


def test_a_snapshot_of_what_cannot_be_bought_says_why() -> None:
    assert snapshot(CART._replace(pieces=()), PRICES).refused == "empty"
    assert snapshot(CART._replace(pieces=(("a", 1), ("euro", 1))), PRICES).refused == "mixed_currency"
    assert snapshot(CART._replace(pieces=(("a", 1), ("gone", 1))), PRICES).refused == "unknown_product"


changes = st.one_of(
    st.builds(SetAll, st.lists(st.tuples(st.sampled_from("abx"), st.integers(1, 60_000))).map(tuple)),
    st.builds(SetOne, st.sampled_from("abx"), st.integers(1, QUANTITY_MAX)),
    st.builds(RemoveOne, st.sampled_from("abx")),
)


@given(st.lists(changes, max_size=6))
def test_whatever_is_wanted_a_cart_stays_within_its_limits(wanted: list[Change]) -> None:
    cart = CART
    for change in wanted:
        after = edit(cart, by_ada(change), PRICES)
        if isinstance(after, Cart):
            assert after.version == cart.version + (after.pieces != cart.pieces)
            assert len({sku for sku, _ in after.pieces}) == len(after.pieces)
            assert all(sku in PRICES and 1 <= pieces <= QUANTITY_MAX for sku, pieces in after.pieces)
            cart = after
        else:
            assert isinstance(after, EditRefused)
