"""A ledger with a clock that stands still, and short ways to work on it."""

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from holdfast.payment_provider import operations
from holdfast.payment_provider.cards import CARDS, split_token
from holdfast.payment_provider.errors import ProviderResponse
from holdfast.payment_provider.ledger import Ledger
from holdfast.payment_provider.operations import ChargeParams, Later, RefundParams

Result = TypeVar("Result")


class Books:
    """One ledger, whose time is `now_ms`."""

    def __init__(self, path: Path, *, keeps_events: bool = False, key_ttl_ms: int = 1000) -> None:
        self.path = path
        self.now_ms = 1_000_000
        self.ledger = Ledger(
            path, key_ttl_ms=key_ttl_ms, keeps_events=keeps_events, now_ms=lambda: self.now_ms
        )

    def run(self, work: Callable[[Ledger], Result]) -> Result:
        """`work` in a transaction of its own."""
        self.ledger.begin()
        try:
            result = work(self.ledger)
        except BaseException:
            self.ledger.rollback()
            raise
        self.ledger.commit()
        return result

    def charge(
        self,
        payment_method: str = "pm_card_visa",
        *,
        amount: int = 1000,
        key: str | None = "do",
        saga_id: str = "saga",
        later: Later | None = None,
    ) -> ProviderResponse:
        card = CARDS[split_token(payment_method)[0]]
        params = ChargeParams(amount, "gbp", payment_method, card, {"saga_id": saga_id}, None)
        return self.run(lambda ledger: operations.charge(ledger, params, key, later))

    def refund(
        self,
        charge: str,
        amount: int | None = None,
        *,
        key: str | None = "undo",
        later: Later | None = None,
        metadata: dict[str, str] | None = None,
    ) -> ProviderResponse:
        params = RefundParams(charge, amount, metadata or {}, None)
        return self.run(lambda ledger: operations.refund(ledger, params, key, later))

    def end_due(self) -> int:
        return self.run(operations.end_due)

    def prov(self) -> list[tuple[Any, ...]]:
        """What an auditor reads, in the order of writing."""
        return self.sql(
            "select kind, status, amount, ccy, saga_id, idem_key from prov order by kind, idem_key"
        )

    def sql(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """A statement on a session of its own, as an auditor or a vandal has it."""
        with sqlite3.connect(self.path) as session:
            rows = session.execute(statement, values).fetchall()
        session.close()
        return rows


def body(answer: ProviderResponse) -> dict[str, Any]:
    """The JSON of an answer."""
    document: dict[str, Any] = msgspec.json.decode(answer.body)
    return document
