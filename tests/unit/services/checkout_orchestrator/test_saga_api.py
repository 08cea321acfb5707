"""The orchestrator's HTTP API: operators list, show, resume, cancel; the gateway cancels for shoppers."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any, cast

import httpx2
import pytest
from tests.callers import Caller, authenticator, calling, keys, problem
from tests.memory_platform import MemoryPlatform
from tests.samples import saga_id

from holdfast.messaging.ids import uuid7
from holdfast.messaging.store import StoreUnavailable
from holdfast.services.checkout_orchestrator import looking
from holdfast.services.checkout_orchestrator.api import app

PIECES = (("A", 2),)
MINUTE_MS, HOUR_MS = 60_000, 3_600_000


class Office:
    """A platform in memory whose orchestrator is asked over HTTP; its writer works while it is asked."""

    def __init__(self) -> None:
        self.platform = MemoryPlatform({"A": 1_000})
        self.client: httpx2.AsyncClient
        self.olga: Caller
        self.looker: Caller
        self.ada: Caller
        self.eve: Caller
        self.writer_is_off = False

    def buy(self, saga: str) -> str:
        self.platform.put_cart(f"cart-{saga}", PIECES)
        self.platform.initiate(saga, PIECES)
        return saga

    def forward(self, steps: int) -> None:
        """Let the saga that is under way get this many answers; with 0 it awaits the first."""
        orchestrator, payment, inventory, order, cart = self.platform.parts
        self._orchestrate()
        for parts in (inventory, payment, order, cart)[:steps]:
            parts.manager.step(0)
            if parts is payment:
                self.platform.payment.charge_loop.step()
            parts.relay.step(0)
            self._orchestrate()
        assert orchestrator.relay.is_idle()

    def _orchestrate(self) -> None:
        self.platform.orchestrator.manager.step(0)
        self.platform.orchestrator.relay.step(0)

    async def ask(self, caller: Caller, method: str, path: str, body: object = None) -> httpx2.Response:
        """Ask, with a writer that serves the request on another thread."""
        asking = asyncio.create_task(caller.ask(method, path, body))
        stop = threading.Event()

        def serve() -> None:
            while not stop.wait(0.001):
                self.platform.orchestrator.manager._serve_requests()

        writer = threading.Thread(target=serve)
        if not self.writer_is_off:
            writer.start()
        try:
            return await asking
        finally:
            stop.set()
            if not self.writer_is_off:
                await asyncio.to_thread(writer.join)

    async def act(self, saga: str, verb: str, *, by: Caller | None = None) -> httpx2.Response:
        return await self.ask(by or self.olga, "POST", f"/v1/sagas/{saga}/{verb}", {"reason": "at 3 a.m."})

    async def cancel(self, saga: str, by: Caller | None = None) -> httpx2.Response:
        """Cancel as the gateway does it, with the shopper's token."""
        return await self.ask(by or self.ada, "POST", "/internal/v1/sagas/cancel", {"saga_id": saga})

    async def listed(self, query: str = "") -> list[str]:
        answer = await self.ask(self.looker, "GET", f"/v1/sagas{query}")
        assert answer.status_code == 200, answer.text
        return [item["saga_id"] for item in answer.json()["items"]]

    async def shown(self, saga: str) -> Any:
        answer = await self.ask(self.looker, "GET", f"/v1/sagas/{saga}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    def actions(self) -> list[tuple[str, str, str, str]]:
        return [tuple(a) for _, a in self.platform.sagas.tables.tables.get("operator_actions", {}).values()]


def visit(scenario: Callable[[Office], Awaitable[None]]) -> None:
    async def main() -> None:
        office = Office()
        parts = office.platform.orchestrator
        with keys() as made:
            store = cast("Any", office.platform.sagas)
            application = app(store, authenticator(made), cast("Any", parts), parts.checkout_service)
            async with calling(application) as client:
                office.client = client
                office.olga = Caller(client, made.token("olga", operator=True))
                office.looker = office.olga
                office.ada, office.eve = (Caller(client, made.token(name)) for name in ("ada", "eve"))
                await scenario(office)

    asyncio.run(main())


SAGA = saga_id(1)
STATES = (
    "INVENTORY_RESERVATION_PENDING",
    "PAYMENT_PROCESSING_PENDING",
    "ORDER_CREATION_PENDING",
    "CART_CLEARANCE_PENDING",
)


@pytest.mark.parametrize("reached", [0, 1, 2])
@pytest.mark.parametrize("by_the_shopper", [True, False])
def test_a_saga_is_cancelled_before_its_pivot_and_everything_is_given_back(
    reached: int, by_the_shopper: bool
) -> None:
    async def scenario(office: Office) -> None:
        office.buy(SAGA)
        office.forward(reached)
        assert office.platform.state(SAGA) == STATES[reached]
        if by_the_shopper:
            answer = await office.cancel(SAGA)
            assert (answer.status_code, answer.json()["cancelled"]) == (200, True)
            assert answer.json()["saga"]["state"] == "COMPENSATING"
        else:
            answer = await office.act(SAGA, "cancel")
            undos = ["CompensateOrder", "CompensatePayment", "CompensateInventory"][2 - reached :]
            assert (answer.status_code, answer.json()["sent"]) == (202, undos)
        office.platform.settle()
        assert office.platform.state(SAGA) == "FAILED"
        assert office.platform.stock("A") == (1_000, 0, 0)
        assert office.platform.provider.charges == office.platform.provider.refunds
        whole = await office.shown(SAGA)
        reason = "cancelled_by_shopper" if by_the_shopper else "cancelled_by_operator"
        assert whole["saga"]["reason"] == reason
        done = [] if by_the_shopper else [("olga", "cancel_saga", SAGA, "at 3 a.m.")]
        assert office.actions() == done

    visit(scenario)


@pytest.mark.parametrize("reached", [3, 4])
def test_line_9_from_the_pivot_on_nobody_cancels(reached: int) -> None:
    async def scenario(office: Office) -> None:
        office.buy(SAGA)
        office.forward(reached)
        before = office.platform.state(SAGA)
        told = (await office.cancel(SAGA)).json()
        assert (told["cancelled"], told["saga"]["state"]) == (False, before)
        code = "past_the_pivot" if reached == 3 else "saga_ended"
        answer = await office.act(SAGA, "cancel")
        assert problem(answer) == (409, code, [])
        assert answer.json()["state"] == before
        office.platform.settle()
        assert office.platform.state(SAGA) == "COMPLETED"
        assert office.actions() == []

    visit(scenario)


def test_a_cancellation_repeated_says_the_same_and_adds_nothing() -> None:
    async def scenario(office: Office) -> None:
        office.buy(SAGA)
        office.forward(1)
        first, second = await office.cancel(SAGA), await office.cancel(SAGA)
        assert first.json() == second.json()
        again = await office.act(SAGA, "cancel")
        assert (again.status_code, again.json()["sent"]) == (202, [])
        office.platform.settle()
        assert (await office.cancel(SAGA)).json()["cancelled"] is True
        assert problem(await office.act(SAGA, "cancel")) == (409, "saga_ended", [])
        assert office.actions() == []

    visit(scenario)


def test_line_8_a_shopper_may_cancel_what_is_not_born_yet_and_its_start_does_nothing() -> None:
    async def scenario(office: Office) -> None:
        told = (await office.cancel(SAGA)).json()
        assert (told["cancelled"], told["saga"]["state"]) == (True, "FAILED")
        office.buy(SAGA)
        office.platform.settle()
        assert office.platform.state(SAGA) == "FAILED"
        assert office.platform.stock("A") == (1_000, 0, 0)
        whole = await office.shown(SAGA)
        assert (whole["checkout"], whole["saga"]["owed"]["steps"]) == (None, [])
        assert [(e["kind"], e["sent"]) for e in whole["history"]] == [
            ("CancellationRequested", ["CheckoutFailed"])
        ]

    visit(scenario)


def test_nobody_cancels_what_is_somebody_elses_or_without_a_token() -> None:
    async def scenario(office: Office) -> None:
        office.buy(SAGA)
        office.forward(1)
        assert problem(await office.cancel(SAGA, by=office.eve))[:2] == (404, "not_found")
        assert problem(await office.cancel(SAGA, by=Caller(office.client, "")))[:2] == (
            401,
            "unauthenticated",
        )
        assert problem(await office.cancel("nonsense"))[:2] == (404, "not_found")
        assert problem(await office.act(saga_id(9), "cancel"))[:2] == (404, "not_found")
        assert problem(await office.act(SAGA, "cancel", by=office.ada))[:2] == (403, "forbidden")
        assert problem(await office.act(SAGA, "resume", by=office.ada))[:2] == (403, "forbidden")
        for path in ("/v1/sagas", f"/v1/sagas/{SAGA}"):
            assert problem(await office.ask(office.ada, "GET", path))[:2] == (403, "forbidden")
        assert office.platform.state(SAGA) == "PAYMENT_PROCESSING_PENDING"
        assert office.platform.sagas.tables.tables["saga"].keys() == {SAGA}

    visit(scenario)


@pytest.mark.parametrize("verb", ["cancel", "resume"])
def test_an_act_needs_a_reason(verb: str) -> None:
    async def scenario(office: Office) -> None:
        office.buy(SAGA)
        office.forward(1)
        answer = await office.ask(office.olga, "POST", f"/v1/sagas/{SAGA}/{verb}", {"reason": " "})
        assert problem(answer) == (422, "invalid_request", ["/reason"])

    visit(scenario)


def test_a_resumed_saga_sends_at_once_what_it_waits_for() -> None:
    async def scenario(office: Office) -> None:
        office.buy(SAGA)
        office.forward(1)
        before = await office.shown(SAGA)
        answer = await office.act(SAGA, "resume")
        assert (answer.status_code, answer.json()) == (
            202,
            {"saga_id": SAGA, "state": "PAYMENT_PROCESSING_PENDING", "sent": ["ProcessPayment"]},
        )
        after = await office.shown(SAGA)
        assert [each["fired"] for each in before["awaited"] + after["awaited"]] == [0, 1]
        assert after["actions"][0] | {"at_ms": 0} == {
            "at_ms": 0,
            "operator": "olga",
            "action": "resume_saga",
            "reason": "at 3 a.m.",
        }
        office.platform.settle()
        assert office.platform.state(SAGA) == "COMPLETED"
        assert problem(await office.act(SAGA, "resume")) == (409, "saga_ended", [])
        assert problem(await office.act(saga_id(9), "resume"))[:2] == (404, "not_found")

    visit(scenario)


def test_resuming_often_never_makes_silence_overdue() -> None:
    async def scenario(office: Office) -> None:
        office.buy(SAGA)
        office.forward(0)
        for _ in range(5):
            office.platform.advance(20_000)
            await office.act(SAGA, "resume")
        office.platform.advance(500)
        office.platform.orchestrator.manager.step(0)
        assert office.platform.state(SAGA) == "INVENTORY_RESERVATION_PENDING"

    visit(scenario)


def test_a_stalled_saga_is_resumed_undo_by_undo_and_a_lost_deadline_is_made_anew() -> None:
    async def scenario(office: Office) -> None:
        office.buy(SAGA)
        office.forward(2)
        await office.act(SAGA, "cancel")
        office.platform.sagas.tables.tables["timers"].clear()
        answer = await office.act(SAGA, "resume")
        undos = ["CompensateOrder", "CompensatePayment", "CompensateInventory"]
        assert answer.json()["sent"] == undos
        assert [each["command"] for each in (await office.shown(SAGA))["awaited"]] == sorted(
            undos, key=lambda kind: ["Inventory", "Order", "Payment"].index(kind[10:])
        )
        office.platform.settle()
        assert office.platform.state(SAGA) == "FAILED"

    visit(scenario)


def test_a_whole_saga_tells_path_sent_messages_ignored_events_and_what_is_owed() -> None:
    async def scenario(office: Office) -> None:
        office.buy(SAGA)
        office.forward(2)
        office.platform.initiate(SAGA, PIECES)
        office.platform.orchestrator.manager.step(0)
        await office.act(SAGA, "cancel")
        whole = await office.shown(SAGA)
        assert [(e["kind"], e["path"], e["sent"]) for e in whole["history"]] == [
            ("CheckoutInitiated", ["CHECKOUT_INITIATED", STATES[0]], ["ReserveInventory"]),
            ("InventoryReserved", ["INVENTORY_RESERVED", STATES[1]], ["ProcessPayment"]),
            ("PaymentProcessed", ["PAYMENT_PROCESSED", STATES[2]], ["CreateOrder"]),
            (
                "CancellationRequested",
                ["COMPENSATING"],
                ["CompensateOrder", "CompensatePayment", "CompensateInventory"],
            ),
        ]
        assert [(e["kind"], e["reason"], e["times"]) for e in whole["ignored"]] == [
            ("CheckoutInitiated", "repeated_start", 1)
        ]
        assert whole["saga"]["owed"] == {
            "steps": ["order", "payment", "inventory"],
            "amount_minor": 200,
            "currency": "GBP",
            "pieces": {"A": 2},
        }
        assert whole["checkout"]["user_id"] == "ada"
        office.platform.settle()
        whole = await office.shown(SAGA)
        assert whole["history"][-1]["sent"] == ["CheckoutFailed"]
        assert whole["saga"]["owed"]["amount_minor"] == 0

    visit(scenario)


def test_what_the_history_says_was_sent_is_what_was_sent() -> None:
    """Every way to an end, every message: the derived list against the bus."""

    async def scenario(office: Office) -> None:
        ways = [(0, "cancel"), (1, "cancel"), (2, "cancel"), (1, "resume"), (3, "resume"), (2, "")]
        for n, (reached, verb) in enumerate(ways, 1):
            office.buy(saga_id(n))
            office.forward(reached)
            if verb:
                await office.act(saga_id(n), verb)
            office.platform.settle()
        log = [record for log in office.platform.bus.state.log.values() for record in log]
        headers = [dict(record.headers) for record in log]
        for n in range(1, len(ways) + 1):
            whole = await office.shown(saga_id(n))
            told = sorted(kind for event in whole["history"] for kind in event["sent"])
            sent = sorted(
                h["ce_type"].decode()
                for h in headers
                if h["ce_id"].startswith(saga_id(n).encode()) and h["ce_source"] == b"checkout-orchestrator"
            )
            assert told == sent

    visit(scenario)


# -- lists


def _several(office: Office) -> list[str]:
    """Three sagas an hour apart: completed, failed, awaiting payment."""
    now_ms = office.platform.now_ms
    ids = [str(uuid7(now_ms - hours * HOUR_MS, hours)) for hours in (3, 2, 1)]
    office.buy(ids[0])
    office.platform.settle()
    office.platform.put_cart(f"cart-{ids[1]}", PIECES)
    office.platform.initiate(ids[1], PIECES, card="pm_card_chargeDeclined")
    office.platform.settle()
    office.buy(ids[2])
    office.forward(1)
    return ids


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", [2, 1, 0]),
        ("?order=oldest", [0, 1, 2]),
        ("?state=COMPLETED", [0]),
        ("?state=completed,failed", [1, 0]),
        ("?state=OPEN", [2]),
        ("?state=PAYMENT_PROCESSING_PENDING", [2]),
        ("?state=COMPENSATING", []),
        ("?reason=payment_declined", [1]),
        ("?reason=deadline", []),
        ("?older_than_s=5400", [1, 0]),
        ("?older_than_s=9000", [0]),
        ("?stalled=true", []),
        ("?limit=2", [2, 1]),
        ("?limit=2&order=oldest", [0, 1]),
    ],
)
def test_sagas_are_listed_by_state_reason_and_age(query: str, found: list[int]) -> None:
    async def scenario(office: Office) -> None:
        ids = _several(office)
        assert await office.listed(query) == [ids[n] for n in found]

    visit(scenario)


@pytest.mark.parametrize("order", ["newest", "oldest"])
@pytest.mark.parametrize("looked_at", [1, 2, 5_000])
@pytest.mark.parametrize("wanted", ["", "&state=FAILED,COMPLETED", "&state=OPEN"])
def test_pages_lead_to_each_other_and_each_looks_at_a_bounded_number(
    monkeypatch: pytest.MonkeyPatch, order: str, looked_at: int, wanted: str
) -> None:
    monkeypatch.setattr(looking, "LOOKED_AT_MAX", looked_at)

    async def scenario(office: Office) -> None:
        ids = _several(office)
        whole = await office.listed(f"?order={order}{wanted}&limit=500") if looked_at == 5_000 else None
        found: list[str] = []
        after = ""
        for _ in range(8):
            page = await office.ask(office.looker, "GET", f"/v1/sagas?order={order}&limit=1{wanted}{after}")
            assert len(page.json()["items"]) <= 1
            found += [item["saga_id"] for item in page.json()["items"]]
            if page.json()["next"] is None:
                break
            after = f"&after={page.json()['next']}"
        else:
            raise AssertionError("pages without end")
        expected = {"": ids, "&state=FAILED,COMPLETED": ids[:2], "&state=OPEN": ids[2:]}[wanted]
        assert found == sorted(expected, reverse=order == "newest")
        assert whole in (None, found)

    visit(scenario)


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ("state=LOST", "/state"),
        ("reason=%27or", "/reason"),
        ("older_than_s=-1", "/older_than_s"),
        ("limit=0", "/limit"),
        ("limit=501", "/limit"),
        ("order=best", "/order"),
        ("stalled=maybe", "/stalled"),
        ("after=1", "/after"),
        ("colour=red", ""),
    ],
)
def test_a_wrong_query_is_refused_by_name(query: str, pointer: str) -> None:
    async def scenario(office: Office) -> None:
        answer = await office.ask(office.looker, "GET", f"/v1/sagas?{query}")
        assert problem(answer) == (422, "invalid_request", [pointer])

    visit(scenario)


# -- a writer in trouble


def test_a_writer_that_does_not_come_round_is_a_503_and_does_nothing_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("holdfast.runtime.writing.TIMEOUT_S", 0.05)

    async def scenario(office: Office) -> None:
        office.buy(SAGA)
        office.forward(1)
        office.writer_is_off = True
        answer = await office.act(SAGA, "cancel")
        assert problem(answer)[:2] == (503, "dependency_unavailable")
        assert int(answer.headers["retry-after"]) > 0
        office.platform.settle()
        assert office.platform.state(SAGA) == "COMPLETED"

    visit(scenario)


def test_a_database_in_trouble_is_a_503(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(office: Office) -> None:
        office.buy(SAGA)
        office.forward(1)

        def down(_: object) -> None:
            raise StoreUnavailable("as scripted")

        monkeypatch.setattr(office.platform.orchestrator.unit_of_work, "commit", down)
        answer = await office.cancel(SAGA)
        assert problem(answer)[:2] == (503, "dependency_unavailable")
        assert "retry-after" in answer.headers

    visit(scenario)
