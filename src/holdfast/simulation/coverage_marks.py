"""Cases that a campaign must reach; it tests nothing of a case that no run reached."""

from collections import Counter

from holdfast.contracts.steps import ORCHESTRATOR, PARTICIPANTS
from holdfast.simulation.books import dead_letters
from holdfast.simulation.world import World

MARKERS = (
    "ended: COMPLETED",
    "ended: FAILED",
    "failed: cancelled",
    "failed: cart_on_hold",
    "failed: deadline",
    "failed: expired",
    "failed: order_total_above_limit",
    "failed: out_of_stock",
    "failed: payment_declined",
    "fence: TOMBSTONE",
    "fence: UNDONE",
    "fence: undo requested while unknown",
    "ignored: compensating",
    "ignored: repeated",
    "ignored: repeated_start",
    "ignored: saga_ended",
    "door: cart_bought",
    "door: cart_in_checkout",
    "door: empty",
    "sent: a question",
    "sent: a start again",
    "provider: adopted by a look-up",
    "provider: refunded",
    "process: a zombie's offsets refused",
    "parked: malformed_json",
    "parked: unknown_type",
    "parked: invalid_key",
    "parked: handler_failed",
    "parked: found by halves",
)


def reached(world: World) -> frozenset[str]:
    """Return the markers that one run reached."""
    sagas = world.table(ORCHESTRATOR, "saga").values()
    fences = [fence for service in PARTICIPANTS for fence in world.table(service, "fence").values()]
    ignored = world.table(ORCHESTRATOR, "saga_ignored").values()
    sent = Counter(observed.what for observed in world.observed if observed.to)
    found = {
        *(f"ended: {saga.state}" for saga in sagas),
        *(f"failed: {saga.reason}" for saga in sagas),
        *(f"fence: {fence.state}" for fence in fences),
        *("fence: undo requested while unknown" for fence in fences if fence.undo_requested),
        *(f"ignored: {row.reason}" for row, _ in ignored),
        *(f"door: {why}" for why in world.shoppers.refused),
        *("sent: a question" for what in sent if ":ask:" in what),
        *("sent: a start again" for what, n in sent.items() if n > 1 and what.endswith(":initiated")),
        *("provider: adopted by a look-up" for _ in range(world.provider.adopted)),
        *("provider: refunded" for entry in world.provider.ledger if entry.kind == "refund"),
        *("process: a zombie's offsets refused" for each in world.processes.values() if each.fenced_commits),
    }
    if world.expected_parks:
        parked = [row for each in world.stores for row in world.table(each, "parked").values()]
        found.update(f"parked: {row.reason}" for row in parked)
        found.update("parked: found by halves" for _ in found_by_halves(world))
    return frozenset(found & set(MARKERS))


def found_by_halves(world: World) -> set[str]:
    """Return the positions of messages none of whose dead letters says that one attempt was made."""
    at_once = {position for position, attempts in dead_letters(world) if attempts == 1}
    return {position for position, _ in dead_letters(world)} - at_once
