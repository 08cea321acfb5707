"""The result of one checkout without times, ids and chance: equal on every wiring, at any speed."""

import re
from typing import Any

from tests.platforms.one_process import STEPS, Buying, OneProcess

from holdfast.saga.state import DEADLINE_PASSED
from holdfast.sagas.checkout import CHECKOUT

_CHANCE = (
    (re.compile(r'"charge_id":"[^"]*"'), '"charge_id":"CHARGE"'),
    (re.compile(r'"not_after_ms":\d+'), '"not_after_ms":0'),
)


def comparable(platform: OneProcess, buying: Buying) -> dict[str, Any]:
    """Return the history, the fences and the business rows of an ended checkout."""
    facts = platform.facts(buying)
    saga, checkout, payment = facts["saga"], facts["checkout"], facts["payment"].get(buying.saga_id)
    return {
        "history": _history(platform, buying),
        "path": [state for row in facts["history"] for state in row.path],
        "saga": (saga.definition, saga.definition_version, saga.state, saga.failed, saga.owed, saga.reason),
        "detail": _text(saga.detail, buying),
        "checkout": (checkout.status, checkout.reason, checkout.total_minor, checkout.cart_version_left),
        "fences": {step: _fence(platform, facts["fences"][step], step, buying) for step in STEPS.values()},
        "reserved": facts["reserved"].get(buying.saga_id),
        "payment": payment and (payment.amount_minor, payment.currency, payment.decline_code),
        "money": payment and (bool(payment.charge_id), bool(payment.refund_id)),
        "order": facts["order"],
        "cart": [(cart.version, cart.pieces, cart.held) for cart in facts["cart"].values()],
    }


def _history(platform: OneProcess, buying: Buying) -> list[tuple[str, str]]:
    """Leave out deadlines that only sent again, and sort the answers to undos, which come in any order."""
    rows = [
        (row.kind, _text(row.payload.decode(), buying))
        for row in platform.history(buying.saga_id)
        if row.kind != DEADLINE_PASSED or row.path
    ]
    undone = sorted(row for row in rows if row[0].endswith("Compensated"))
    return [row for row in rows if row not in undone] + undone


def _fence(platform: OneProcess, fence: Any, step: str, buying: Buying) -> Any:
    """Leave out the tombstone of a step that was never asked: who asks is told to undo everything."""
    if not platform.wiring.bus.sent[buying.saga_id, CHECKOUT.step_named[step].do]:
        return None
    return fence and (str(fence.state), fence.reply_kind, _text(fence.reply.decode(), buying))


def _text(text: str, buying: Buying) -> str:
    for pattern, plain in _CHANCE:
        text = pattern.sub(plain, text)
    return text.replace(buying.saga_id, "SAGA").replace(f'"{buying.cart_id}"', '"CART"')
