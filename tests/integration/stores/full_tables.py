"""Tables of 100,000 rows; and for every parameter of every statement a value: five keys, a page of five."""

from collections.abc import Mapping
from typing import Any

import psycopg

ROWS = 100_000
SOME = 5

FILL = """
insert into saga (saga_id, state, version, ended_ms) select KEY, 'COMPLETED', 13, 1 from MANY;
insert into saga_event (saga_id, seq, event_id, kind, payload, path, at_ms)
select KEY, seq, 'event-' || seq, 'kind', repeat('x', 100)::bytea, '', n from MANY, generate_series(1, 2) seq;
insert into saga_ignored (saga_id, event_id, kind, reason, times)
select KEY, 'event', 'kind', '', 1 from MANY;
insert into fence (saga_id, step, state)
select KEY, step, 'DONE' from MANY, unnest('{inventory,payment}'::text[]) step;
insert into timers (saga_id, step, verb, kind, partition, since_ms, due_ms)
select KEY, 'payment', 'do', case when n % 50000 = 1 then 'resolve' else 'deadline' end,
    case when n % 50000 = 2 then 1 else 7 end, n, 0 from MANY;
insert into outbox (count, batch, at)
select 1, repeat('x', 100)::bytea, now() - interval '1 hour' from MANY;
insert into parked (topic, partition, position, reason, detail, headers, status)
select 'x', n % 16, n, 'x', 'x', '', 'redriven' from MANY;
insert into stock (sku, initial, on_hand) select 'sku-' || n, 5, 5 from MANY;
insert into stock_movement (saga_id, direction, skus, quantities)
select KEY, direction, '{a,b}', '{1,2}' from MANY, unnest('{reserve,sell}'::text[]) direction;
insert into payment (saga_id, user_id, payment_method, amount_minor, currency)
select KEY, 'ada', 'card', 5, 'GBP' from MANY;
insert into orders
    (saga_id, order_id, user_id, currency, total_minor, status, skus, quantities, prices_minor)
select KEY, 'order', 'ada', 'GBP', 5, 'PLACED', '{a}', '{1}', '{5}' from MANY;
insert into checkout
    (saga_id, user_id, idem_key, fingerprint, cart_id, cart_version, total_minor, currency, created_ms,
    last_status, initiated)
select KEY, 'ada', 'key-' || n, '', 'cart-' || n, 1, 5, 'GBP', n,
    case when n % 1000 = 0 then 'PAYMENT_PROCESSED' else 'COMPLETED' end, '' from MANY
"""
KEY = "(lpad(to_hex(n), 12, '0') || '70008000' || lpad(to_hex(n), 12, '0'))::uuid"


def fill(connection: "psycopg.Connection[Any]") -> None:
    """Fill every table, and leave it without statistics."""
    connection.execute("set synchronous_commit = off")
    statements = FILL.replace("KEY", KEY).replace("MANY", f"generate_series(1, {ROWS}) n")
    connection.execute(statements.encode())


def values(name: str) -> Mapping[str, Any]:
    """Return what a statement is given, by the names of its parameters."""
    return VALUES | OTHER_MEANINGS.get(name, {})


def _keys(first: int) -> list[str]:
    """The keys of some sagas, as KEY makes them."""
    return [f"{number:012x}70008000{number:012x}" for number in range(first, first + SOME)]


def _each(value: Any, names: str) -> dict[str, Any]:
    """An array of the same value for each of these parameters."""
    return dict.fromkeys(names.split(), [value] * SOME)


def _one(value: Any, names: str) -> dict[str, Any]:
    """The same value for each of these parameters."""
    return dict.fromkeys(names.split(), value)


VALUES: dict[str, Any] = {
    **_each("x", "actions charge_ids currencies decline_codes definitions details failed kinds last_errors"),
    **_each("x", "message_ids operators order_ids owed paths payment_methods places reasons sources"),
    **_each("x", "refund_ids reply_kinds targets topics"),
    **_each("ada", "user_ids"),
    **_each("do", "verbs"),
    **_each("payment", "steps"),
    **_each("DONE", "states"),
    **_each("PLACED", "statuses"),
    **_each("reserve", "directions"),
    **_each(b"x", "fingerprints headers initiated keys payloads replies results values"),
    **_each(True, "submitted undo_requested"),
    **_each(0, "reserved sold"),
    **_each(5, "amounts at_ms attempts cart_versions created_ms definition_versions due_ms end_offsets"),
    **_each(5, "ended_ms fired on_hand outbox_ids pieces positions prices quantities same_errors since_ms"),
    **_each(5, "stalled_ms started_ms times totals versions_left"),
    **_each(99, "saga_versions seqs versions"),
    **_one("x", "after_topic name outcome owner place reason status target topic"),
    **_one(SOME, "after_partition after_position count limit position rows"),
    **_one(1000, "older_than_ms ttl_ms unknown_after_ms horizon_ms"),
    "after": "sku-5",
    "batch": b"x",
    "before_id": _keys(90_000)[0],
    "cart_ids": [f"cart-{number}" for number in range(SOME)],
    "event_ids": [f"event-{number}" for number in range(SOME)],
    "from_id": _keys(40_000)[0],
    "idempotency_keys": [f"key-{number}" for number in range(SOME)],
    "ids": list(range(50_000, 50_000 + SOME)),
    "kind": "deadline",
    "left_out": [],
    "line_places": list(range(1, SOME + 1)),
    "numbers": list(range(SOME)),
    "partitions": list(range(SOME)),
    "saga_id": _keys(50_000)[0],
    "saga_ids": _keys(50_000),
    "skus": [f"sku-{number}" for number in range(SOME)],
    "stalled": False,
    "step": "payment",
    "wait": "50ms",
    "unchanged_since_ms": 2 * 10**12,
    "which": "unknown",
}
NEW: dict[str, Any] = {
    "saga_ids": _keys(ROWS + 1),
    "idempotency_keys": [f"new-{number}" for number in range(SOME)],
    "cart_ids": [f"new-{number}" for number in range(SOME)],
}
OTHER_MEANINGS: dict[str, dict[str, Any]] = {
    "checkout_orchestrator.insert_history": NEW,
    "checkout_orchestrator.insert_new_sagas": NEW,
    "gateway_bff.insert_checkouts": NEW,
    "inventory_write.insert_movements": NEW,
    "messaging.insert_new_fences": NEW,
    "order_create.insert_orders": NEW,
    "payment_gateway.insert_payments": NEW,
    "gateway_bff.update_endings": _each("COMPLETED", "statuses"),
    "messaging.select_held_fences": {"keys": SOME},
    "messaging.set_timers": _each("deadline", "kinds"),
    "payment_gateway.select_due_calls": _each(True, "fresh newest_first") | _each(SOME, "limits"),
    "messaging.settle_parked": {"status": "redriven"},
}
