"""The shoppers: they ask the gateway for checkouts, with cart snapshots, also again with the same key.

The answers are kept: the same key must never be answered with two checkouts.
"""

from typing import Any

from holdfast.contracts.codec import decode_as
from holdfast.contracts.http_api import Snapshot
from holdfast.contracts.messages import CheckoutInitiated
from holdfast.messaging.memory_store import MemoryStore
from holdfast.messaging.store import StoreUnavailable
from holdfast.services.cart_crud.cart_service import CartService
from holdfast.services.gateway_bff.checkout_starter import CheckoutStarter
from holdfast.services.gateway_bff.domain import Accepted, Checkout, CheckoutRequest
from holdfast.simulation.faults import Switch
from holdfast.simulation.setup import Setup

USER = "ada"
_STRIDE = 0x9E3779B97F4A7C15F39C
"""Odd, so that its multiples modulo 2^80 differ, and scattered, so that sagas fall on all partitions."""


class SimulatedShoppers:
    """Ask for the setup's checkouts. `accepted`: the saga that each was answered with, by its number."""

    def __init__(
        self, setup: Setup, checkouts: MemoryStore[Any], carts: MemoryStore[Any], faults: Switch
    ) -> None:
        self._specs = setup.checkouts
        self._checkouts = checkouts
        self._cart_service = CartService(carts)
        self._faults = faults
        self._draws = 0
        self._first: dict[str, Snapshot] = {}
        self._initiated: dict[str, CheckoutInitiated] = {}
        self.accepted: dict[int, str] = {}
        self.refused: set[str] = set()
        self.contradictions: set[str] = set()

    def chance(self) -> int:
        """Return the next 80 bits for a saga's id."""
        self._draws += 1
        return self._draws * _STRIDE % 2**80

    def ask(self, number: int, starter: CheckoutStarter) -> bool:
        """Ask for a checkout, for the first time or again; tell whether it was accepted."""
        spec = self._specs[number % len(self._specs)]
        snapshot = self._cart_service.snapshots([(spec.cart_id, USER)])[0]
        first = self._first.setdefault(spec.cart_id, snapshot)
        if self._faults.strikes("stale"):
            snapshot = first
        if snapshot.refused:
            self.refused.add(snapshot.refused)
            return False
        request = CheckoutRequest(USER, f"key-{number}", b"", spec.cart_id, spec.card, snapshot)
        try:
            result = starter.accept([request])[0]
        except StoreUnavailable:
            return False
        if not isinstance(result, Accepted):
            self.refused.add(result.why)
            return False
        if self.accepted.setdefault(number, result.checkout.saga_id) != result.checkout.saga_id:
            self.contradictions.add(f"key-{number}: {self.accepted[number]}, then {result.checkout.saga_id}")
        return True

    def checkouts(self) -> dict[str, Checkout]:
        """Return what was accepted, as the gateway's table has it."""
        rows = self._checkouts.tables.tables.get("checkout", {})
        return {saga_id: row for saga_id, (row, _) in rows.items()}

    def initiated(self, saga_id: str) -> CheckoutInitiated:
        """Return the snapshot with which a checkout began."""
        if saga_id not in self._initiated:
            _, value = self._checkouts.tables.tables["checkout"][saga_id]
            self._initiated[saga_id] = decode_as(CheckoutInitiated, value)
        return self._initiated[saga_id]
