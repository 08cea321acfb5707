"""payment-gateway with a provider inside its own process: a checkout without the provider's HTTP.

The process is the product's, but for the adapter behind its provider port. The ledger is the simulator's
file, written in groups and synced before it answers, so that the audit can compare it. Run as a script.
"""

import os
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from queue import SimpleQueue

from holdfast.messaging.keyed_breaker import KeyedBreaker
from holdfast.payment_provider.ledger import Ledger, new_ref
from holdfast.services.payment_gateway import main as payment_gateway
from holdfast.services.payment_gateway.domain import (
    ProviderCall,
    ProviderRequest,
    ProviderResult,
    Succeeded,
)
from holdfast.services.payment_gateway.settlement import ListedCharge
from holdfast.services.payment_gateway.stripe_provider import provider_breaker

LEDGER = "BENCH_LEDGER"

Ended = Callable[[ProviderCall, ProviderResult], None]


class InProcessProvider:
    """Charges every card at once. It knows no refunds: no checkout of a benchmark is undone."""

    def __init__(self, _url: str, _secret_key: str, _timeout_s: float) -> None:
        self.breaker: KeyedBreaker = provider_breaker()
        self.refund_breaker: KeyedBreaker = provider_breaker(name="payment-provider-refunds")
        self.look_up_breaker: KeyedBreaker = provider_breaker(name="payment-provider-look-ups")
        self._begun: SimpleQueue[tuple[Sequence[ProviderCall], Ended] | None] = SimpleQueue()
        self._charges: dict[str, str] = {}
        self._thread = threading.Thread(target=self._answer, name="provider", daemon=True)
        self._thread.start()

    def begin(self, calls: Sequence[ProviderCall], ended: Ended) -> None:
        self._begun.put((calls, ended))

    def call(self, calls: Sequence[ProviderCall]) -> list[ProviderResult]:
        answers: SimpleQueue[tuple[str, ProviderResult]] = SimpleQueue()
        self.begin(calls, lambda call, result: answers.put((call.idempotency_key, result)))
        found = dict(answers.get() for _ in calls)
        return [found[call.idempotency_key] for call in calls]

    def charges(self, after: str = "", intent: str = "") -> list[ListedCharge]:
        return []

    def close(self) -> None:
        self._begun.put(None)
        self._thread.join()

    def _answer(self) -> None:
        ledger = Ledger(Path(os.environ[LEDGER]))
        while (begun := self._begun.get()) is not None:
            calls, ended = begun
            ledger.begin()
            for call in calls:
                self._charge(ledger, call)
            ledger.commit()
            for call in calls:
                ended(call, Succeeded(self._charges[call.idempotency_key]))
        ledger.close()

    def _charge(self, ledger: Ledger, call: ProviderCall) -> None:
        assert call.ask is ProviderRequest.CHARGE, call.ask
        key, payment = call.idempotency_key, call.payment
        if key in self._charges:
            return
        now_ms = ledger.now_ms()
        self._charges[key] = intent = new_ref("pi", now_ms)
        charge = {
            "id": new_ref("ch", now_ms),
            "object": "charge",
            "status": "succeeded",
            "amount": payment.amount_minor,
            "currency": payment.currency.lower(),
            "payment_intent": intent,
        }
        ledger.append(charge, saga_id=payment.saga_id, idem_key=key)


if __name__ == "__main__":
    vars(payment_gateway)["StripeProvider"] = InProcessProvider
    sys.exit(payment_gateway.main())
