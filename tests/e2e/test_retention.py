"""A live platform that keeps ended sagas for seconds: they go, books stay, and old messages do nothing."""

from pathlib import Path
from typing import Any

import psycopg
from tests.e2e.conftest import ENVIRONMENT, PENS
from tests.e2e.shopper import Operator, Shopper
from tests.eventually import eventually

from holdfast import audit
from holdfast.bus.postgres import PostgresBus
from holdfast.contracts.codec import decode
from holdfast.contracts.messages import CheckoutInitiated
from holdfast.contracts.topics import CART, GATEWAY, INVENTORY, ORCHESTRATOR, ORDER, PAYMENT
from holdfast.local.platform import Platform
from holdfast.messaging.envelope import seal

NOT_AFTER_S = 30
SHORT = ENVIRONMENT | {
    "HOLDFAST_NOT_AFTER_S": str(NOT_AFTER_S),
    "HOLDFAST_TOPIC_RETENTION_S": "1",
    "HOLDFAST_DEAD_LETTER_RETENTION_S": "1",
    "HOLDFAST_ROW_RETENTION_S": str(NOT_AFTER_S + 3),
    "HOLDFAST_PRUNE_EVERY_S": "1",
}
PRUNED = {
    ORCHESTRATOR: ("saga", "saga_event"),
    GATEWAY: ("checkout",),
    INVENTORY: ("fence",),
    PAYMENT: ("fence",),
    ORDER: ("fence",),
    CART: ("fence",),
}


def rows(platform: Platform, service: str, statement: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(platform.info.services[service].dsn or "") as connection:
        return connection.execute(statement.encode()).fetchall()


def left(platform: Platform) -> list[str]:
    return [
        f"{service}: {table}"
        for service, tables in PRUNED.items()
        for table in tables
        if rows(platform, service, f"select count(*) from {table}") != [(0,)]
    ]


def test_ended_sagas_are_pruned_and_their_old_messages_do_nothing(tmp_path: Path) -> None:
    with Platform(tmp_path / "data", environment=SHORT) as platform:
        platform.wait_ready(120)
        Operator(platform.info).stock(PENS)
        shopper = Shopper(platform.info)
        bought = shopper.buy({"pen": 2})
        too_many = shopper.buy({"gem": 11})
        declined = shopper.buy({"pen": 1}, card="pm_card_chargeDeclined")
        assert shopper.end_of(bought)["state"] == "COMPLETED"
        assert {shopper.end_of(saga_id)["state"] for saga_id in (too_many, declined)} == {"FAILED"}
        ((value,),) = rows(platform, GATEWAY, f"select initiated from checkout where saga_id = '{bought}'")
        on_hand = Operator(platform.info).on_hand("pen")

        eventually(lambda: not left(platform), "every ended saga is pruned", 120)
        assert shopper.client.get(f"/v1/checkouts/{bought}").status_code == 404
        assert rows(platform, ORDER, "select saga_id::text, status from orders") == [(bought, "PLACED")]
        _begin_again(platform, bought, bytes(value))
        report = audit.run(Path(platform.info.data), 60)
        assert (report.exit_code, report.violations) == (0, [])
        assert report.counts["COMPLETED"] == 1
        assert report.money["GBP"].charged == report.money["GBP"].completed == 500
        assert Operator(platform.info).on_hand("pen") == on_hand
        assert shopper.end_of(shopper.buy({"pen": 1}))["state"] == "COMPLETED"


def _begin_again(platform: Platform, saga_id: str, value: bytes) -> None:
    """Deliver the first message once more, and see it parked."""
    start = decode("CheckoutInitiated", value)
    assert isinstance(start, CheckoutInitiated)
    bus = PostgresBus(platform.info.bus.dsn or "", Path(platform.info.hints))
    publisher = bus.publisher()
    publisher.publish([seal(f"{saga_id}:initiated", "CheckoutInitiated", saga_id, start, "gateway-bff")])
    publisher.close()
    bus.close()
    why = f"select reason from parked where saga_id = '{saga_id}'"
    eventually(lambda: rows(platform, ORCHESTRATOR, why) == [("pruned_saga",)], "the start is parked", 60)
    assert rows(platform, ORCHESTRATOR, f"select 1 from saga where saga_id = '{saga_id}'") == []
