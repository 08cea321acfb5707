"""One checkout through the real services in one process: the happy path and all four refusals."""

from uuid import UUID

import pytest
from tests.memory_platform import MemoryPlatform

from holdfast.messaging.fence import Fence

SAGA = str(UUID(int=7))
PIECES = (("A", 2), ("B", 1))


@pytest.fixture
def platform() -> MemoryPlatform:
    platform = MemoryPlatform({"A": 10, "B": 10})
    platform.put_cart(f"cart-{SAGA}", (("A", 2), ("B", 3)))
    return platform


def test_a_cart_becomes_a_paid_order(platform: MemoryPlatform) -> None:
    platform.initiate(SAGA, PIECES)
    platform.settle()
    assert platform.history(SAGA) == [
        "CHECKOUT_INITIATED",
        "INVENTORY_RESERVATION_PENDING",
        "INVENTORY_RESERVED",
        "PAYMENT_PROCESSING_PENDING",
        "PAYMENT_PROCESSED",
        "ORDER_CREATION_PENDING",
        "ORDER_CREATED",
        "CART_CLEARANCE_PENDING",
        "COMPLETED",
    ]
    assert platform.stock("A") == (8, 0, 2)
    assert platform.provider.charges == {SAGA: 300}
    assert platform.orders.tables.tables["orders"][SAGA].status == "PLACED"
    assert platform.carts.tables.tables["cart"][f"cart-{SAGA}", "ada"].pieces == (("B", 2),)
    assert all(fence.state in ("CONFIRMED", "DONE") for fence in _fences(platform))


def test_out_of_stock_fails_at_once(platform: MemoryPlatform) -> None:
    platform.initiate(SAGA, (("A", 11),))
    platform.settle()
    assert platform.history(SAGA)[-2:] == ["INVENTORY_RESERVATION_PENDING", "FAILED"]
    assert platform.stock("A") == (10, 0, 0)
    assert not platform.provider.charges


def test_a_declined_card_releases_the_stock(platform: MemoryPlatform) -> None:
    platform.initiate(SAGA, PIECES, card="pm_card_chargeDeclined")
    platform.settle()
    assert platform.history(SAGA)[-2:] == ["COMPENSATING", "FAILED"]
    assert platform.stock("A") == (10, 0, 0)
    assert not platform.provider.charges


def test_an_order_above_the_limit_refunds_and_releases(platform: MemoryPlatform) -> None:
    platform.initiate(SAGA, PIECES, price=400_000)
    platform.settle()
    assert platform.state(SAGA) == "FAILED"
    assert platform.provider.charges == platform.provider.refunds == {SAGA: 1_200_000}
    assert platform.stock("A") == (10, 0, 0)


def test_a_held_cart_undoes_everything(platform: MemoryPlatform) -> None:
    platform.put_cart(f"cart-{SAGA}", PIECES, held="fraud check")
    platform.initiate(SAGA, PIECES)
    platform.settle()
    assert platform.history(SAGA)[-3:] == ["CART_CLEARANCE_PENDING", "COMPENSATING", "FAILED"]
    assert platform.provider.refunds == {SAGA: 300}
    assert platform.orders.tables.tables["orders"][SAGA].status == "CANCELED"
    assert platform.carts.tables.tables["cart"][f"cart-{SAGA}", "ada"].pieces == PIECES


def _fences(platform: MemoryPlatform) -> list[Fence]:
    stores = (platform.inventory, platform.payments, platform.orders, platform.carts)
    return [fence for store in stores for fence in store.tables.tables["fence"].values()]
