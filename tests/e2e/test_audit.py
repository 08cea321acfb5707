"""The books of a live platform: they balance, and what is planted in its databases is named with its saga."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from tests.e2e.conftest import running
from tests.e2e.shopper import Shopper

from holdfast import audit
from holdfast.contracts.topics import INVENTORY, ORDER
from holdfast.local.platform import Platform
from holdfast.local.process_table import database

QUIET_S = 60.0


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """A platform of its own: what is planted in it stays."""
    with running(tmp_path_factory.mktemp("platform"), "postgres") as platform:
        yield platform


def test_a_lost_charge_an_oversold_piece_and_a_missing_order_are_named(platform: Platform) -> None:
    shopper = Shopper(platform.info)
    charged, ordered = shopper.buy({"pen": 1}), shopper.buy({"ink": 2})
    declined = shopper.buy({"pen": 1}, card="pm_card_chargeDeclined")
    too_many = shopper.buy({"gem": 11})
    for saga_id in (charged, ordered, declined, too_many):
        shopper.end_of(saga_id)
    before = _audit(platform)
    assert before.exit_code == 0, (before.quiet, before.violations)
    assert before.counts == {"COMPLETED": 2, "FAILED": 2}

    _lose_charge(platform, charged)
    _plant(platform, INVENTORY, "update stock set on_hand = on_hand - 1, sold = sold + 1 where sku = 'gem'")
    _plant(platform, ORDER, f"delete from orders where saga_id = '{ordered}'")
    after = _audit(platform)
    assert after.exit_code == 1, after.quiet
    assert {(each.invariant, each.key) for each in after.violations} == {
        ("I01", "GBP"),
        ("I02", charged),
        ("I03", charged),
        ("I06", "gem"),
        ("I09", ordered),
        ("I10", ordered),
    }


def _audit(platform: Platform) -> audit.AuditReport:
    return audit.run(Path(platform.info.data), QUIET_S)


def _plant(platform: Platform, service: str, statement: str) -> None:
    with psycopg.connect(platform.postgres.dsn(database(service))) as connection:
        connection.execute(statement.encode())


def _lose_charge(platform: Platform, saga_id: str) -> None:
    """Delete what the provider's file never lets go of."""
    ledger = sqlite3.connect(platform.info.folder.ledger)
    ledger.execute("drop trigger entries_never_vanish")
    ledger.execute("delete from entries where saga_id = ?", [saga_id])
    ledger.commit()
    ledger.close()
