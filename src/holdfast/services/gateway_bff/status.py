"""Describes a checkout to a shopper: its steps, its money and one sentence. Pure.

It says "You were not charged" only if that is certain.
"""

from holdfast.contracts.http_api import CheckoutView, SagaView, StepView
from holdfast.contracts.steps import FAILURE_REASONS, ORDER_STEP, PAYMENT_STEP, STATES, Charged, owed_by_steps
from holdfast.contracts.steps import FailureReason as Why
from holdfast.saga.definition import Step
from holdfast.sagas.checkout import CHECKOUT
from holdfast.services.gateway_bff.domain import COMPLETED, FAILED, Checkout

COMPENSATING = CHECKOUT.compensating
_SENTENCES = {CHECKOUT.initial: "Your checkout was received."} | dict(STATES)
_PAYING, _CHARGED = PAYMENT_STEP.pending.state, PAYMENT_STEP.finished.state
_BEFORE_PAYING = frozenset(list(_SENTENCES)[: list(_SENTENCES).index(_PAYING)])
_NEWER = Why("", "Your checkout could not be completed", Charged.REFUNDED)
"""A reason that only a newer program knows."""


def view(checkout: Checkout, saga: SagaView | None, *, stale: bool = False) -> CheckoutView:
    """Return the checkout for its shopper; `saga` is the orchestrator's view, None if it has none or is down.

    `stale`: the orchestrator could not be asked, so money may be held although the row does not show it.
    """
    state = checkout.status if checkout.is_terminal or saga is None else saga.state
    ended = state in (COMPLETED, FAILED)
    reason = checkout.reason or (saga.reason if saga else "")
    why = FAILURE_REASONS.get(reason, _NEWER)
    return CheckoutView(
        saga_id=checkout.saga_id,
        state=state,
        cart_id=checkout.cart_id,
        total_minor=checkout.total_minor,
        currency=checkout.currency,
        money_held=not ended and (stale or _money_held(state, saga)),
        message=_message(checkout, state, saga, why, stale=stale),
        created_ms=checkout.created_ms,
        steps=_steps(saga) if saga else (),
        order_id=_order_id(checkout, saga) or None,
        reason=reason or None,
        detail=(checkout.detail if why.detail_shown else "") or None,
        stalled=bool(saga and saga.stalled_ms and not ended),
        stale=stale,
    )


def _money_held(state: str, saga: SagaView | None) -> bool:
    """Tell whether money may be held: from the command to charge until the money is given back."""
    if state == COMPENSATING:
        return saga is None or _owes_money(saga)
    return state not in _BEFORE_PAYING


def _owes_money(saga: SagaView) -> bool:
    return any(owed.money for owed in owed_by_steps(saga.owed))


def _order_id(checkout: Checkout, saga: SagaView | None) -> str:
    """Return the order's id; the orchestrator may know it a moment before the row has it."""
    if checkout.order_id or saga is None or saga.state != COMPLETED:
        return checkout.order_id
    return str(saga.results[ORDER_STEP.name]["order_id"])


def _message(checkout: Checkout, state: str, saga: SagaView | None, why: Why, *, stale: bool) -> str:
    if state == COMPLETED:
        return _SENTENCES[COMPLETED].format(order_id=_order_id(checkout, saga))
    if stale:
        return "Your checkout is under way; how far it is cannot be read just now."
    if state == FAILED:
        return f"{why.sentence}. {_money_given_back(saga, why)}"
    if state == COMPENSATING:
        if saga is not None and _owes_money(saga):
            paid = "Your payment" if _was_charged(saga) else "Any payment"
            return f"{why.sentence}. {paid} is being refunded."
        return f"{why.sentence}. Your reservation is being released."
    return _SENTENCES.get(state, "Your checkout is being processed.")


def _money_given_back(saga: SagaView | None, why: Why) -> str:
    """Say what happened to the money of a failed checkout; a payment without an answer may have been made."""
    if saga is None:
        certain = why.charged is Charged.NEVER
    elif _was_charged(saga):
        return "Your payment was refunded in full: nothing was charged in the end."
    else:
        kinds = {event.kind for event in saga.history}
        asked = any(_PAYING in event.path for event in saga.history)
        certain = not asked or PAYMENT_STEP.failed in kinds
    return "You were not charged." if certain else "Nothing was charged in the end."


def _was_charged(saga: SagaView) -> bool:
    return any(_CHARGED in event.path for event in saga.history)


def _steps(saga: SagaView) -> tuple[StepView, ...]:
    return tuple(_step(step, saga) for step in CHECKOUT.steps)


def _step(step: Step, saga: SagaView) -> StepView:
    name, state, started_ms, finished_ms = step.name, "waiting", 0, 0
    for event in saga.history:
        if step.finished in event.path and state == "pending":
            state, finished_ms = "done", event.at_ms
        if step.pending in event.path:
            state, started_ms = "pending", event.at_ms
        if event.kind == step.failed and state == "pending":
            state, finished_ms = "failed", event.at_ms
        if event.kind == step.undone:
            state, finished_ms = "undone", event.at_ms
    if name in saga.owed:
        state, finished_ms = "undoing", 0
    return StepView(name, state, started_ms, finished_ms)
