"""Books on trial: each kind of violation, planted alone, is named by exactly what it breaks."""

from typing import NamedTuple

import pytest
from tests.books_harness import LINES, BooksHarness
from tests.integration.audit.corruptions import (
    Corruption,
    both,
    cleared,
    forged_ledger,
    path,
    snapshot,
    sql,
    without_rules,
)
from tests.samples import saga_id

from holdfast.audit import run_on
from holdfast.audit.invariants import INVARIANTS
from holdfast.audit.report import AuditExit
from holdfast.contracts.messages import Line
from holdfast.contracts.topics import CART, GATEWAY, INVENTORY, ORCHESTRATOR, ORDER, PAYMENT

COMPLETED, AT_INVENTORY, AT_PAYMENT, AT_ORDER, AT_CART = (saga_id(n) for n in range(1, 6))
STRANGER = saga_id(999)
CODE = LINES[0].sku
VALUE = sum(line.quantity * line.unit_price_minor for line in LINES)


class Case(NamedTuple):
    """A plant, the queries (by their names behind the number) that must name it and no others, and a key.

    The first query is the intended one, and the key is what it gives.
    """

    plant: Corruption
    named: str
    key: str

    @property
    def intended(self) -> str:
        return self.named.split()[0]


def a_second_charge_given_back(world: BooksHarness) -> None:
    """A failed saga was charged twice, under two keys, and refunded twice: it owes nothing, and yet."""
    world.charge(AT_ORDER, VALUE, key="another key")
    world.refund(AT_ORDER, key="another key to undo")


def one_piece_too_many_sold(world: BooksHarness) -> None:
    """A sale of 101 pieces of 100, booked without a mistake."""
    without_rules(INVENTORY, "stock")(world)
    world.completed([Line("rare", 101, 100)])


def a_strangers_reservation(world: BooksHarness) -> None:
    world.insert(INVENTORY, "fence", saga_id=STRANGER, step="inventory", state="CONFIRMED")
    for direction in ("reserve", "sell"):
        world.insert(
            INVENTORY, "stock_movement", saga_id=STRANGER, direction=direction, skus=[CODE], quantities=[1]
        )
    world.run(INVENTORY, f"update stock set on_hand = on_hand - 1, sold = sold + 1 where sku = '{CODE}'")


def an_event_twice(world: BooksHarness) -> None:
    without_rules(ORCHESTRATOR, "saga_event")(world)
    world.run(
        ORCHESTRATOR,
        "insert into saga_event select saga_id, 6, event_id, kind, payload, '', at_ms"
        f" from saga_event where saga_id = '{COMPLETED}' and seq = 3",
    )
    world.run(ORCHESTRATOR, f"update saga set version = 6 where saga_id = '{COMPLETED}'")


def a_key_used_twice(world: BooksHarness) -> None:
    without_rules(GATEWAY, "checkout")(world)
    world.run(GATEWAY, f"update checkout set idem_key = 'mine' where saga_id in ('{COMPLETED}', '{AT_CART}')")


def a_lost_saga(world: BooksHarness) -> None:
    """A checkout that was accepted, and of which the orchestrator has never heard."""
    saga = world.completed()
    lost = f"saga_id = '{STRANGER}', last_status = 'CHECKOUT_INITIATED'"
    world.run(GATEWAY, f"update checkout set {lost} where saga_id = '{saga}'")


def a_strangers_order(world: BooksHarness) -> None:
    world.run(
        ORDER,
        f"insert into orders select '{STRANGER}', 'stray', user_id, currency, 0, 'PENDING',"
        f" '{{}}', '{{}}', '{{}}' from orders where saga_id = '{COMPLETED}'",
    )


ENTRY = f"where saga_id = '{COMPLETED}'"
FAILED_ENTRY = f"where saga_id = '{AT_ORDER}'"

CASES = {
    # money
    "a charge that the provider lost": Case(
        forged_ledger(f"delete from entries {ENTRY}"), "money_per_saga money_in_all charges_agree", COMPLETED
    ),
    "a charge for nobody": Case(
        lambda w: w.charge("", 500, key="whose"), "money_in_all charges_agree", "GBP"
    ),
    "a charge for a saga that does not exist": Case(
        lambda w: w.charge(STRANGER, 500), "money_in_all charges_agree", "GBP"
    ),
    "a charge in another currency": Case(
        forged_ledger(f"update entries set currency = 'usd' {ENTRY}"),
        "money_in_all money_per_saga charges_agree",
        "GBP",
    ),
    "one shopper pays for another": Case(
        both(
            lambda w: w.completed(),
            forged_ledger(
                f"update entries set amount = amount + 100 {ENTRY}",
                f"update entries set amount = amount - 100 where saga_id = '{saga_id(7)}'",
            ),
            sql(
                PAYMENT,
                f"update payment set amount_minor = amount_minor + 100 {ENTRY}",
                f"update payment set amount_minor = amount_minor - 100 where saga_id = '{saga_id(7)}'",
            ),
        ),
        "money_per_saga",
        COMPLETED,
    ),
    "a completed checkout was refunded": Case(
        lambda w: w.refund(COMPLETED), "money_per_saga money_in_all refunds_agree", COMPLETED
    ),
    "a failed checkout was not refunded": Case(
        both(
            forged_ledger(f"delete from entries {FAILED_ENTRY} and kind = 'refund'"),
            sql(PAYMENT, f"update payment set refund_id = '' {FAILED_ENTRY}"),
        ),
        "money_per_saga money_in_all",
        AT_ORDER,
    ),
    "our payment row is lost": Case(sql(PAYMENT, f"delete from payment {ENTRY}"), "charges_agree", COMPLETED),
    "our payment row says another amount": Case(
        sql(PAYMENT, f"update payment set amount_minor = 1 {ENTRY}"), "charges_agree", COMPLETED
    ),
    "our payment row says another currency": Case(
        sql(PAYMENT, f"update payment set currency = 'EUR' {ENTRY}"), "charges_agree", COMPLETED
    ),
    "a declined charge that we believe in": Case(
        sql(PAYMENT, f"update payment set charge_id = 'pi_1' where saga_id = '{AT_PAYMENT}'"),
        "charges_agree",
        AT_PAYMENT,
    ),
    "a refund that we forgot": Case(
        sql(PAYMENT, f"update payment set refund_id = '' {FAILED_ENTRY}"), "refunds_agree", AT_ORDER
    ),
    "a refund by hand that nobody has told us of": Case(
        lambda w: w.refund(COMPLETED, key="by hand"), "money_per_saga money_in_all refunds_agree", COMPLETED
    ),
    "a refund that we only believe in": Case(
        sql(PAYMENT, f"update payment set refund_id = 're_none' {ENTRY}"), "refunds_agree", COMPLETED
    ),
    "charged twice under two keys": Case(
        a_second_charge_given_back, "charged_twice charges_agree refunds_agree", AT_ORDER
    ),
    # the snapshot
    "a total that is not the sum of its lines": Case(
        snapshot(AT_PAYMENT, '"unit_price_minor":255', '"unit_price_minor":254'),
        "amount_of_snapshot",
        AT_PAYMENT,
    ),
    "a checkout for nothing": Case(
        both(
            snapshot(AT_INVENTORY, ":255", ":0"),
            snapshot(AT_INVENTORY, ":339", ":0"),
            snapshot(AT_INVENTORY, f'"total_minor":{VALUE}', '"total_minor":0'),
        ),
        "amount_of_snapshot",
        AT_INVENTORY,
    ),
    # stock
    "a piece from nowhere": Case(
        both(
            without_rules(INVENTORY, "stock"),
            sql(INVENTORY, f"update stock set on_hand = on_hand + 1 where sku = '{CODE}'"),
        ),
        "stock_conserved",
        CODE,
    ),
    "an oversold piece": Case(
        sql(INVENTORY, f"update stock set on_hand = on_hand - 1, sold = sold + 1 where sku = '{CODE}'"),
        "stock_conserved",
        CODE,
    ),
    "a sale without a movement": Case(
        sql(INVENTORY, f"delete from stock_movement where saga_id = '{COMPLETED}' and direction = 'sell'"),
        "stock_conserved",
        CODE,
    ),
    "stock that disappeared": Case(
        sql(INVENTORY, f"delete from stock where sku = '{CODE}'"), "stock_conserved", CODE
    ),
    "more sold than there ever was": Case(one_piece_too_many_sold, "oversold", "rare"),
    "half a reservation": Case(
        both(
            sql(INVENTORY, f"update stock_movement set quantities = '{{6,5}}' where saga_id = '{COMPLETED}'"),
            sql(INVENTORY, f"update stock set on_hand = on_hand + 1, sold = sold - 1 where sku = '{CODE}'"),
        ),
        "reservations_whole",
        COMPLETED,
    ),
    "a reservation of a saga that nobody knows": Case(
        a_strangers_reservation, "reservations_whole", STRANGER
    ),
    "a reservation that a failed saga left": Case(
        sql(INVENTORY, f"update fence set state = 'CONFIRMED' where saga_id = '{AT_CART}'"),
        "reservations_whole stock_conserved failed_leaves_nothing",
        AT_CART,
    ),
    # orders
    "a missing order": Case(
        sql(ORDER, f"delete from orders {ENTRY}"), "orders_counted order_is_snapshot", COMPLETED
    ),
    "an order that was never placed": Case(
        sql(ORDER, f"update orders set status = 'PENDING' {ENTRY}"),
        "orders_counted order_is_snapshot",
        COMPLETED,
    ),
    "an order left pending by a failed saga": Case(
        sql(ORDER, f"update orders set status = 'PENDING' where saga_id = '{AT_CART}'"),
        "orders_counted",
        AT_CART,
    ),
    "an order of a saga that nobody knows": Case(a_strangers_order, "orders_counted", STRANGER),
    "an order with other pieces": Case(
        sql(ORDER, f"update orders set quantities = '{{7,6}}' {ENTRY}"), "order_is_snapshot", COMPLETED
    ),
    "an order of somebody else": Case(
        sql(ORDER, f"update orders set user_id = 'eve' {ENTRY}"), "order_is_snapshot", COMPLETED
    ),
    "an order with another total": Case(
        sql(ORDER, f"update orders set total_minor = 1 {ENTRY}"), "order_is_snapshot", COMPLETED
    ),
    # what is left standing, and what is missing
    "a failed saga was confirmed somewhere": Case(
        sql(ORDER, f"update fence set state = 'CONFIRMED' where saga_id = '{AT_CART}'"),
        "failed_leaves_nothing",
        AT_CART,
    ),
    "a completed saga was undone somewhere": Case(
        sql(ORDER, f"update fence set state = 'UNDONE' {ENTRY}"), "completed_has_everything", COMPLETED
    ),
    "a completed saga that a participant never heard of": Case(
        sql(CART, f"delete from fence {ENTRY}"), "completed_has_everything", COMPLETED
    ),
    "a cart that was never cleared": Case(
        sql(CART, f"delete from clear_log {ENTRY}"), "cart_cleared_if_completed", COMPLETED
    ),
    "a cart cleared by a failed saga": Case(cleared(AT_PAYMENT), "cart_cleared_if_completed", AT_PAYMENT),
    "a cart cleared by a saga that nobody knows": Case(
        cleared(STRANGER), "cart_cleared_if_completed", STRANGER
    ),
    "a cart from which too much was taken": Case(
        sql(CART, f"update clear_log set quantities_removed = quantities_before {ENTRY}"),
        "cart_cleared_exactly",
        COMPLETED,
    ),
    "another user's cart of the same id": Case(
        sql(CART, f"update clear_log set user_id = 'eve' {ENTRY}"), "cart_cleared_exactly", COMPLETED
    ),
    "a cart of which a line was forgotten": Case(
        sql(
            CART,
            "update clear_log set skus = skus[:1], quantities_before = quantities_before[:1],"
            f" quantities_removed = quantities_removed[:1] {ENTRY}",
        ),
        "cart_cleared_exactly",
        COMPLETED,
    ),
    # once, in order
    "an event that was applied twice": Case(an_event_twice, "event_applied_once", COMPLETED),
    "a release that was made twice": Case(
        sql(
            INVENTORY,
            "update stock_movement set skus = '{71053,71053,85123A}', quantities = '{3,3,6}'"
            f" where saga_id = '{AT_CART}' and direction = 'release'",
        ),
        "stock_moved_once",
        AT_CART,
    ),
    "a hole in a history": Case(
        sql(ORCHESTRATOR, f"delete from saga_event where saga_id = '{AT_ORDER}' and path = ''"),
        "history_gap_free",
        AT_ORDER,
    ),
    "a history that lost its end": Case(
        sql(ORCHESTRATOR, f"update saga set version = version + 1 {ENTRY}"), "history_gap_free", COMPLETED
    ),
    "a step that was left out": Case(
        path(COMPLETED, 2, "PAYMENT_PROCESSED,ORDER_CREATION_PENDING"), "history_legal", COMPLETED
    ),
    "a history without its last state": Case(path(AT_PAYMENT, 4, ""), "history_ends_in_state", AT_PAYMENT),
    # the door
    "a key used for two checkouts": Case(a_key_used_twice, "key_used_once", "mine"),
    "a shopper who was told something else": Case(
        sql(GATEWAY, f"update checkout set last_status = 'FAILED' {ENTRY}"), "gateway_says_so", COMPLETED
    ),
    "a shopper who was told too early": Case(
        both(
            lambda w: w.under_way(),
            sql(GATEWAY, f"update checkout set last_status = 'COMPLETED' where saga_id = '{saga_id(7)}'"),
        ),
        "gateway_says_so",
        saga_id(7),
    ),
    "an accepted checkout that got lost": Case(a_lost_saga, "gateway_says_so", STRANGER),
}


@pytest.fixture
def sound(world: BooksHarness) -> BooksHarness:
    """One checkout of every end, in the order of the names above, and one that was cancelled early."""
    for add in (
        world.completed,
        world.failed_at_inventory,
        world.failed_at_payment,
        world.failed_at_order,
        world.failed_at_cart,
    ):
        add()
    world.cancelled_before_start()
    return world


@pytest.mark.parametrize("case", CASES.values(), ids=[name.replace(" ", "_") for name in CASES])
def test_a_plant_is_named_by_what_it_breaks(sound: BooksHarness, case: Case) -> None:
    case.plant(sound)
    report = run_on(sound.sources, 0)
    assert report.quiet == []
    assert report.exit_code == AuditExit.VIOLATED
    found = [(_behind_the_number(each.query), each) for each in report.violations]
    assert {query for query, _ in found} == set(case.named.split()), report.violations
    assert case.key in {each.key for query, each in found if query == case.intended}
    assert all(each.text for each in report.violations)
    assert all(each.query.startswith(each.invariant.lower()) for each in report.violations)


def test_every_query_is_on_trial_as_the_intended_one() -> None:
    assert {case.intended for case in CASES.values()} == {_behind_the_number(q.query) for q in INVARIANTS}
    assert len(INVARIANTS) == 22


def _behind_the_number(query: str) -> str:
    return query.partition("_")[2]
