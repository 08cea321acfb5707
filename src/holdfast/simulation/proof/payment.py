"""The model of payment-gateway: its writer, its charge loop with calls under way, and the provider."""

from collections.abc import Callable, Hashable, Iterator
from typing import Any, NamedTuple

from holdfast.contracts.topics import PAYMENT
from holdfast.messaging.fence import FenceState
from holdfast.messaging.memory_store import MemoryTables
from holdfast.messaging.store import TimerKey
from holdfast.services.payment_gateway.charging import LEASE_MS
from holdfast.services.payment_gateway.domain import ProviderCall, ProviderResult
from holdfast.simulation.faults import Switch
from holdfast.simulation.proof.real_harness import FIRED_MAX, RealHarness, thaw
from holdfast.simulation.proof.service_models import MessagesInFlight, ModelStep, Move, Node
from holdfast.simulation.proof.services import ParticipantModel
from holdfast.simulation.provider import Memory, SimProvider
from holdfast.simulation.setup import START_MS, Setup

FAULTS = ("timeout_before", "timeout_after", "late", "stored_500")
"""The provider's other faults have the same results: no effect and no answer is `timeout_before`."""

Calls = tuple[tuple[ProviderCall, ProviderResult | None], ...]


class ChargeLoopModel(NamedTuple):
    """The loop's calls under way, those of loops that lost their lease, and the provider's memory."""

    calls: Calls = ()
    abandoned: tuple[Calls, ...] = ()
    provider: Memory = Memory()


class PaymentModel(ParticipantModel):
    """Claim, call and record are three moves: a crash or an undo may come between any two of them."""

    def __init__(self, in_flight: MessagesInFlight, setup: Setup) -> None:
        real = RealHarness(PAYMENT, setup)
        super().__init__(PAYMENT, in_flight, real, "payment")
        self._loop: Any = real.parts.charge_loop  # type: ignore[attr-defined]

    def tables(self, node: Node) -> MemoryTables:
        """Return the database; calls under way are leased, all other calls are due."""
        tables = thaw(node.db)  # type: ignore[arg-type]
        loop: Any = node.memory
        for call, _ in loop.calls:
            key = TimerKey(call.payment.saga_id, "payment", call.verb)
            timers = tables.tables.get("timers", {})
            if key in timers:
                until = START_MS + LEASE_MS
                timers[key] = timers[key]._replace(due_ms=until, end_offset=until)
        return tables

    def after_crash(self, memory: Hashable) -> ChargeLoopModel:
        assert isinstance(memory, ChargeLoopModel)
        return memory._replace(calls=())

    def busy(self, node: Node) -> Iterator[Move]:
        loop: Any = node.memory
        if not loop.calls:
            yield from self._claim(node)
            return
        yield from self._go_on(node, loop.calls, lambda calls: loop._replace(calls=calls))
        yield self._remember(
            node, "crashes with calls in hand", "crash with calls in hand", self.after_crash(loop)
        )
        given_up = loop._replace(calls=(), abandoned=tuple(sorted((*loop.abandoned, loop.calls), key=repr)))
        yield self._remember(node, "loses its lease with calls in hand", "zombie charge loop", given_up)

    def ambient(self, node: Node) -> Iterator[Move]:
        loop: Any = node.memory
        for index, calls in enumerate(loop.abandoned):
            others = loop.abandoned[:index] + loop.abandoned[index + 1 :]

            def continued(rest: Calls, others: tuple[Calls, ...] = others) -> ChargeLoopModel:
                kept = (*others, rest) if rest else others
                return loop._replace(abandoned=tuple(sorted(kept, key=repr)))  # type: ignore[no-any-return]

            yield from self._go_on(node, calls, continued)
        for index in range(len(loop.provider.late)):
            provider = SimProvider(Switch(), loop.provider)
            provider.land(index)
            yield self._remember(node, "a late call lands", "", loop._replace(provider=provider.memory()))

    def _claim(self, node: Node) -> Iterator[Move]:
        new_calls: list[ProviderCall] = []

        def run(tables: MemoryTables) -> tuple[MemoryTables, tuple[Any, ...]]:
            return self.harness.run(tables, lambda: new_calls.extend(self._loop.claim()))

        step = self.transact(node, "claims", run)
        loop: Any = node.memory
        if new_calls:
            calls = tuple((_without_unread_fields(call), None) for call in new_calls)
            yield from self.variants(node, step._replace(memory=loop._replace(calls=calls)))

    def _go_on(self, node: Node, calls: Calls, after: Callable[[Calls], ChargeLoopModel]) -> Iterator[Move]:
        if calls[0][1] is None:
            yield from self._call(node, [call for call, _ in calls], after)
        else:
            yield from self._record(node, calls, after)

    def _call(
        self, node: Node, asked: list[ProviderCall], after: Callable[[Calls], ChargeLoopModel]
    ) -> Iterator[Move]:
        for fault, index in [("", 0), *((name, n) for name in FAULTS for n in range(len(asked)))]:
            switch = Switch()
            switch.arm(f"{fault}:{index + 1}" if fault else "")
            loop: Any = node.memory
            provider = SimProvider(switch, loop.provider)
            answers = provider.call(asked)
            answered = after(tuple(zip(asked, answers, strict=True)))._replace(provider=provider.memory())
            yield self._remember(node, "calls the provider", f"provider: {fault}" if fault else "", answered)
            if not fault:
                lost = after(())._replace(provider=provider.memory())
                yield self._remember(node, "calls the provider", "crash after the call", lost)

    def _record(self, node: Node, calls: Calls, after: Callable[[Calls], ChargeLoopModel]) -> Iterator[Move]:
        def run(tables: MemoryTables) -> tuple[MemoryTables, tuple[Any, ...]]:
            return self.harness.run(tables, lambda: self._loop.record(calls))

        step = self.transact(node, "records", run)
        yield from self.variants(node, step._replace(memory=after(())))

    def _remember(self, node: Node, what: str, fault: str, memory: ChargeLoopModel) -> Move:
        return self._move(ModelStep(f"{self.name} {what}", node.db, node.lanes, memory, ()), fault)

    def check(self, before: Any, after: dict[str, dict[Any, Any]]) -> Iterator[str]:
        yield from super().check(before, after)
        for (saga_id, _), fence in after.get("fence", {}).items():
            payment = after.get("payment", {}).get(saga_id)
            if fence.state == FenceState.DONE and not (payment and payment.charge_id):
                yield f"I03: the charge of {saga_id} is done without a reference"


def _without_unread_fields(call: ProviderCall) -> ProviderCall:
    """Leave out what no code reads of a call under way: the attempt beyond `FIRED_MAX`, past errors."""
    payment = call.payment._replace(last_error="", same_error=0)
    return call._replace(payment=payment, attempt=min(call.attempt, FIRED_MAX))


def held_for(memory: Any) -> frozenset[str]:
    """Return the sagas for which the provider holds money now."""
    net: dict[str, int] = {}
    for entry in memory.provider.ledger:
        if entry.ok:
            sign = 1 if entry.kind == "charge" else -1
            net[entry.saga_id] = net.get(entry.saga_id, 0) + sign * entry.amount_minor
    return frozenset(saga_id for saga_id, amount in net.items() if amount)


def charged_twice(memory: Any) -> bool:
    """Tell whether any saga was charged more than once, under whatever key."""
    charged = [e.saga_id for e in memory.provider.ledger if e.kind == "charge" and e.ok]
    return len(charged) != len(set(charged))
