"""Mutants that an invariant notices: of the fence, the engine, money and stock; imports those of delivery."""

from collections.abc import Sequence
from typing import Any
from unittest.mock import patch

import tests.simulation.mutants_in_delivery  # noqa: F401 - they register themselves
from tests.simulation.mutant import MUTANTS, Broken, Mutant, both, mutant

from holdfast.contracts.messages import ClearCart, InventoryReserved, Line, Refused
from holdfast.messaging import fence as fences
from holdfast.messaging import participant
from holdfast.messaging.fence import Act, Fence, FenceState, Verb
from holdfast.messaging.handler import HandlerResult
from holdfast.saga.definition import StepClass
from holdfast.saga.machine import Transition
from holdfast.saga.state import Decision, SagaInstance, Timer
from holdfast.saga.state import Verb as SagaVerb
from holdfast.services.cart_crud.domain import CartBatch
from holdfast.services.inventory_write.domain import StockBatch
from holdfast.services.inventory_write.handlers import InventoryParticipant
from holdfast.services.order_create.domain import OrderBatch
from holdfast.services.order_create.memory_store import MemoryOrderTransaction
from holdfast.services.payment_gateway import charging
from holdfast.services.payment_gateway import domain as payments
from holdfast.services.payment_gateway.domain import Declined, ProviderCall, Unknown
from holdfast.services.payment_gateway.handlers import Intents, PaymentParticipant

__all__ = ["MUTANTS", "Mutant"]


def _act(state: FenceState, verb: Verb, does: Act) -> Broken:
    return patch.dict(fences._TABLE[state], {verb: does})


# -- the fence


@mutant("I12")
def no_tombstone() -> Broken:
    return patch.dict(fences._NO_ROW, {Verb.UNDO: Act.ANSWER_UNDONE})


@mutant("I11")
def silent_on_a_repeated_command() -> Broken:
    return _act(FenceState.DONE, Verb.DO, Act.SILENT)


@mutant("I12")
def a_refusal_is_not_stored() -> Broken:
    return _act(FenceState.REFUSED, Verb.DO, Act.RUN)


@mutant("I12")
def a_step_undone_is_done_again() -> Broken:
    """Also without the orders' unique key, which would stop it by an exception."""

    def insert_orders(self: Any, rows: Any) -> None:
        self.table("orders").update({row.saga_id: row for row in rows})

    overwriting = patch.object(MemoryOrderTransaction, "insert_orders", insert_orders)
    return both(_act(FenceState.UNDONE, Verb.DO, Act.RUN), overwriting)


@mutant("I06")
def an_undo_is_made_again() -> Broken:
    def without_a_check(self: Any, tx: Any, rows: Any) -> None:
        if rows.changed:
            tx.save_stock([rows.stock[sku] for sku in sorted(rows.changed)])
        known = tx.table("stock_movement")
        tx.insert_movements([row for row in rows.movements if (row.saga_id, row.direction) not in known])

    return both(
        _act(FenceState.UNDONE, Verb.UNDO, Act.INVERT),
        patch.object(InventoryParticipant, "save", without_a_check),
    )


@mutant("I02")
def an_unknown_charge_is_answered_as_undone() -> Broken:
    real = fences.act

    def act(fence: Fence | None, verb: Verb) -> Act:
        if fence and fence.state is FenceState.RUNNING and verb is Verb.UNDO:
            return Act.TOMBSTONE
        return real(fence, verb)

    return patch.object(participant, "act", act)


@mutant("I13")
def nothing_is_confirmed() -> Broken:
    return _act(FenceState.DONE, Verb.CONFIRM, Act.SILENT)


@mutant("I11")
def an_inbox_before_the_fence() -> Broken:
    real = participant.ParticipantHandler.handle

    def handle(self: Any, tx: Any, envelopes: Sequence[Any]) -> HandlerResult:
        seen, new = tx.table("inbox"), []
        for envelope in envelopes:
            if envelope.message_id not in seen:
                seen[envelope.message_id] = True
                new.append(envelope)
        return real(self, tx, new) if new else HandlerResult()

    return patch.object(participant.ParticipantHandler, "handle", handle)


# -- the engine


@mutant("I14")
def the_deadline_undoes_the_pivot() -> Broken:
    real = Transition.deadline_passed

    def deadline_passed(self: Transition, fired: Any) -> Decision:
        if self.saga and fired.overdue and fired.verb is SagaVerb.DO and self.saga.state.startswith("CART_"):
            return self._start_compensating(
                self.saga._replace(version=self.saga.version + 1, reason="deadline")
            )
        return real(self, fired)

    return patch.object(Transition, "deadline_passed", deadline_passed)


@mutant("I12")
def the_deadline_forgets_the_step_that_is_awaited() -> Broken:
    real = Transition._start_compensating

    def leave(self: Transition, saga: SagaInstance) -> Decision:
        awaited, _ = self._awaited(saga)
        assert awaited is not None
        return real(self, saga._replace(failed=(*saga.failed, awaited.name)))

    return patch.object(Transition, "_start_compensating", leave)


@mutant("I12")
def only_the_last_step_is_undone() -> Broken:
    real = Transition._start_compensating

    def leave(self: Transition, saga: SagaInstance) -> Decision:
        decision = real(self, saga)
        if decision.saga is None or len(decision.saga.owed) < 2:
            return decision
        return decision._replace(
            saga=decision.saga._replace(owed=decision.saga.owed[:1]),
            messages=decision.messages[:1],
            set_timers=decision.set_timers[:1],
        )

    return patch.object(Transition, "_start_compensating", leave)


@mutant("I12")
def the_first_undo_answered_ends_the_saga() -> Broken:
    real = Transition.step_undone

    def step_undone(self: Transition, name: str) -> Decision:
        if self.saga and name in self.saga.owed:
            self.saga = self.saga._replace(owed=(name,))
        return real(self, name)

    return patch.object(Transition, "step_undone", step_undone)


@mutant("I17")
def a_late_reply_is_applied() -> Broken:
    real = Transition.step_done

    def step_done(self: Transition, name: str) -> Decision:
        saga, d = self.saga, self.definition
        if saga is not None and saga.state == d.compensating:
            step = d.step_named[name]
            return self._await(
                saga._replace(version=saga.version + 1), d.steps.index(step) + 1, (step.finished,), clear=()
            )
        return real(self, name)

    return patch.object(Transition, "step_done", step_done)


@mutant("I11")
def a_late_reply_adds_an_obligation() -> Broken:
    real = Transition.step_done

    def step_done(self: Transition, name: str) -> Decision:
        saga, d = self.saga, self.definition
        step = d.step_named[name]
        late = saga is not None and saga.state == d.compensating and name not in saga.owed
        if saga is None or not late or step.step_class is not StepClass.COMPENSATABLE:
            return real(self, name)
        owing = saga._replace(version=saga.version + 1, owed=(*saga.owed, name))
        again = self._command(owing, step, SagaVerb.UNDO)
        return Decision(saga=owing, messages=(again,), set_timers=(Timer(name, SagaVerb.UNDO),))

    return patch.object(Transition, "step_done", step_done)


@mutant("I14")
def a_cancellation_is_heard_after_the_pivot() -> Broken:
    real = Transition.cancel

    def cancel(self: Transition) -> Decision:
        if self.saga is not None and self.saga.state == "CART_CLEARANCE_PENDING":
            return self._start_compensating(
                self.saga._replace(version=self.saga.version + 1, reason="cancelled")
            )
        return real(self)

    return patch.object(Transition, "cancel", cancel)


@mutant("I11")
def an_undo_is_sent_once() -> Broken:
    real = Transition._start_compensating

    def leave(self: Transition, saga: SagaInstance) -> Decision:
        return real(self, saga)._replace(set_timers=())

    return patch.object(Transition, "_start_compensating", leave)


# -- money, stock, orders, carts


@mutant("I04")
def a_new_key_for_every_attempt_to_charge() -> Broken:
    key = property(lambda call: f"{call.payment.saga_id}:payment:{call.verb}:{call.attempt}")
    return patch.object(ProviderCall, "idempotency_key", key)


@mutant("I02")
def not_found_is_taken_for_not_charged() -> Broken:
    real = payments.resolve

    def resolve(fence: Fence, call: ProviderCall, answer: Any) -> Any:
        not_found = isinstance(answer, Unknown) and answer.error in ("not_found", "timeout")
        return real(fence, call, Declined("not_found", "") if not_found else answer)

    return patch.object(charging, "resolve", resolve)


@mutant("I06")
def half_a_reservation_is_made() -> Broken:
    real = StockBatch.reserve

    def reserve(self: StockBatch, saga_id: str, lines: Sequence[Line]) -> InventoryReserved | Refused:
        outcome = real(self, saga_id, lines)
        first = self.stock[lines[0].sku]
        if isinstance(outcome, Refused) and first.on_hand:
            self._put(first._replace(on_hand=first.on_hand - 1, reserved=first.reserved + 1))
        return outcome

    return patch.object(StockBatch, "reserve", reserve)


@mutant("I07")
def more_is_sold_than_there_is() -> Broken:
    real = StockBatch.reserve

    def reserve(self: StockBatch, saga_id: str, lines: Sequence[Line]) -> InventoryReserved | Refused:
        before = dict(self.stock)
        self.stock = {sku: row._replace(on_hand=row.on_hand + 1_000) for sku, row in before.items()}
        outcome = real(self, saga_id, lines)
        self.stock = {sku: row._replace(on_hand=row.on_hand - 1_000) for sku, row in self.stock.items()}
        return outcome

    return patch.object(StockBatch, "reserve", reserve)


@mutant("I05")
def the_price_is_not_the_snapshots() -> Broken:
    real = PaymentParticipant.do

    def do(self: Any, rows: Intents, saga_id: str, command: Any) -> Any:
        outcome = real(self, rows, saga_id, command)
        dearer = rows.charges[saga_id].amount_minor + 1
        rows.charges[saga_id] = rows.charges[saga_id]._replace(amount_minor=dearer)
        return outcome

    return patch.object(PaymentParticipant, "do", do)


@mutant("I09")
def an_order_is_never_placed() -> Broken:
    return patch.object(OrderBatch, "settle", lambda *_: None)


@mutant("I14")
def clearing_empties_the_cart() -> Broken:
    real = CartBatch.clear

    def clear(self: CartBatch, saga_id: str, command: ClearCart) -> Any:
        answer = real(self, saga_id, command)
        if not isinstance(answer, Refused):
            key = command.cart_id, command.user_id
            self.carts[key] = self.carts[key]._replace(pieces=())
        return answer

    return patch.object(CartBatch, "clear", clear)
