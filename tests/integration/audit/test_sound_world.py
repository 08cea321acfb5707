"""A sound world is clean, and an audit says what it has seen."""

from pathlib import Path

import msgspec
from tests.books_harness import LINES, BooksHarness
from tests.samples import saga_id

from holdfast.audit import Money, Sources, run, run_on
from holdfast.audit.invariants import INVARIANTS
from holdfast.contracts.topics import CART, INVENTORY, ORCHESTRATOR, ORDER
from holdfast.local.info import BusInfo, PlatformInfo, PostgresInfo, ServiceInfo
from holdfast.local.layout import DataFolder, FolderLock

VALUE = sum(line.quantity * line.unit_price_minor for line in LINES)


def test_every_end_of_a_checkout_is_clean(world: BooksHarness) -> None:
    world.completed()
    world.failed_at_inventory()
    world.failed_at_payment()
    world.failed_at_order()
    world.failed_at_cart()
    world.cancelled_before_start()
    report = run_on(world.sources, 0)
    assert report.violations == []
    assert report.quiet == []
    assert report.exit_code == 0
    assert report.counts == {"COMPLETED": 1, "FAILED": 5}
    assert report.money == {"GBP": Money(charged=3 * VALUE, refunded=2 * VALUE, completed=VALUE)}
    assert report.checked == [each.query for each in INVARIANTS]


def test_an_empty_system_proves_nothing(world: BooksHarness) -> None:
    report = run_on(world.sources, 0)
    assert (report.exit_code, report.counts) == (3, {})


def test_a_saga_under_way_is_counted_and_owes_nothing_yet(world: BooksHarness) -> None:
    world.under_way()
    report = run_on(world.sources, 0)
    assert report.violations == []
    assert (report.exit_code, report.counts) == (0, {"ORDER_CREATION_PENDING": 1})


def test_an_answer_still_to_come_is_no_disagreement(world: BooksHarness) -> None:
    """The provider has charged or refunded, and payment-gateway does not know it yet."""
    charged, refunded = world.under_way(), world.under_way()
    world.run("payment-gateway", "update payment set charge_id = '' where saga_id = %s", charged)
    world.run("payment-gateway", "update fence set state = 'RUNNING' where saga_id = %s", charged)
    world.run("payment-gateway", "update fence set state = 'UNDOING' where saga_id = %s", refunded)
    world.refund(refunded)
    assert run_on(world.sources, 0).violations == []


def test_a_refund_that_a_person_made_by_hand_belongs_to_the_payment_that_names_it(
    world: BooksHarness,
) -> None:
    world.failed_at_order(refund_key="by hand")
    assert run_on(world.sources, 0).violations == []


def test_a_code_in_two_lines_is_one_piece_of_stock_and_cart(world: BooksHarness) -> None:
    saga = world.completed()
    one, two = ({"sku": "85123A", "quantity": pieces, "unit_price_minor": 255} for pieces in (4, 2))
    six = {"sku": "85123A", "quantity": 6, "unit_price_minor": 255}
    world.rewrite_snapshot(saga, _json(six), f"{_json(one)},{_json(two)}")
    lines = "skus = '{85123A,85123A,71053}', quantities = '{4,2,6}', prices_minor = '{255,255,339}'"
    world.run(ORDER, f"update orders set {lines}")
    assert run_on(world.sources, 0).violations == []


def test_a_cart_that_was_gone_or_emptied_counts_as_cleared(world: BooksHarness) -> None:
    gone, emptied = world.completed(), world.completed()
    nothing = "skus = '{}', quantities_before = '{}', quantities_removed = '{}'"
    world.run(CART, f"update clear_log set {nothing} where saga_id = %s", gone)
    nothing_left = "quantities_before = '{0,2}', quantities_removed = '{0,2}'"
    world.run(CART, f"update clear_log set {nothing_left} where saga_id = %s", emptied)
    assert run_on(world.sources, 0).violations == []


def test_a_re_sent_command_has_an_event_without_a_path(world: BooksHarness) -> None:
    saga = world.under_way()
    world.run(
        ORCHESTRATOR,
        "insert into saga_event (saga_id, seq, event_id, kind, payload, path, at_ms)"
        " values (%s, 4, 'x:order:do:deadline:1', 'DeadlinePassed', '', '', 0)",
        saga,
    )
    world.run(ORCHESTRATOR, "update saga set version = 4")
    assert run_on(world.sources, 0).violations == []


def test_a_snapshot_with_characters_that_postgresql_cannot_hold_is_read(world: BooksHarness) -> None:
    """JSON may name NUL; but behind a backslash, the same letters are just letters."""
    saga = world.failed_at_inventory()
    world.rewrite_snapshot(saga, '"85123A"', r'"\u0000A\u0000"')
    world.rewrite_snapshot(saga, '"71053"', r'"\\u0000B\\\u0000"')
    assert run_on(world.sources, 0).violations == []


def test_parked_messages_are_told_and_are_no_violation(world: BooksHarness) -> None:
    world.completed()
    for position, status in enumerate(("parked", "parked", "discarded")):
        world.insert(
            INVENTORY,
            "parked",
            topic="checkout.inventory-command",
            partition=0,
            position=position,
            status=status,
            reason="malformed_json",
            detail="no JSON",
            headers=b"",
        )
    report = run_on(world.sources, 0)
    assert report.exit_code == 0
    (parked,) = report.parked
    assert (parked.service, parked.reason, parked.count) == (INVENTORY, "malformed_json", 2)


def test_the_report_is_one_json_object(world: BooksHarness) -> None:
    saga = world.completed()
    world.run(ORDER, "delete from orders")
    found = msgspec.json.decode(msgspec.json.encode(run_on(world.sources, 0)))
    assert found["exit_code"] == 1
    assert found["counts"] == {"COMPLETED": 1}
    assert {each["key"] for each in found["violations"]} == {saga} == {saga_id(1)}


def test_an_audit_leaves_nothing_behind(world: BooksHarness) -> None:
    world.completed()
    run_on(world.sources, 0)
    world.run(ORCHESTRATOR, "do $$ begin assert to_regclass('pg_temp.prov') is null; end $$")


def test_a_running_platform_is_found_by_its_data_folder(world: BooksHarness) -> None:
    world.completed()
    root = world.ledger_path.parent.parent
    folder = DataFolder(root)
    folder.prepare()
    with FolderLock(folder):
        folder.platform.write_bytes(msgspec.json.encode(_platform_info(root, world.sources)))
        report = run(root, 0)
    assert (report.exit_code, report.counts) == (0, {"COMPLETED": 1})


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _platform_info(root: Path, sources: Sources) -> PlatformInfo:
    return PlatformInfo(
        pid=1,
        started_at="",
        data=str(root),
        bus=BusInfo("postgres", dsn=msgspec.to_builtins(sources.bus)["dsn"]),
        wakeup_folder="",
        postgres=PostgresInfo(port=1, pid=1, restarts=0),
        services={name: ServiceInfo(1, "", 2, "", dsn, 1, 0) for name, dsn in sources.dsns().items()},
    )
