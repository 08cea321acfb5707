"""Replaying over a public API that answers, refuses, stumbles and vanishes: every invoice ends once."""

import asyncio
from collections import Counter
from collections.abc import Iterable
from time import monotonic

import pytest
import uvloop
from tests.unit.local.fake_gateway import OPERATOR, Answer, FakeGateway, Fault, Request

from holdfast.local import api_client
from holdfast.local.api_client import ApiClient, OutOfPatience, RequestRefused
from holdfast.local.catalogue import load_prices, load_stock
from holdfast.local.orders import Invoice
from holdfast.local.replay import CARD, DECLINED_CARDS, ReplayPlan, ReplayResult, payment_method, replay
from holdfast.local.replay_stats import ReplayStats
from holdfast.runtime.http_client import Response

CODES = {f"code{i}": 100 + i for i in range(7)}
PLAN = ReplayPlan("run", concurrency=8, patience_s=30)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The schedule of waits stays, a hundred times as fast."""
    monkeypatch.setattr(api_client, "RETRY_BASE_MS", 1)
    monkeypatch.setattr(api_client, "RETRY_CAP_MS", 20)


def invoices(count: int = 20) -> list[Invoice]:
    names = sorted(CODES)
    return [
        Invoice(
            str(536_365 + i), str(i % 3) if i % 5 else "", ((names[i % 7], 1 + i), (names[(i + 1) % 7], 2)), 2
        )
        for i in range(count)
    ]


def run(
    fake: FakeGateway,
    plan: ReplayPlan = PLAN,
    orders: Iterable[Invoice] = (),
    pieces: int = 10_000,
    timeout_s: float = 10.0,
) -> tuple[ReplayStats, int]:
    """Load the catalogue and replay; returns the tally and how many requests were repeated."""
    tally = ReplayStats()

    async def main() -> int:
        async with asyncio.timeout(20), fake.serving() as url:
            client = ApiClient(url, timeout_s)
            await load_prices(client, OPERATOR, CODES, "GBP", plan.patience_s)
            await load_stock(client, OPERATOR, CODES, pieces, plan.patience_s, only_new=plan.resumed)
            await replay(list(orders) or invoices(), client, lambda user: user, plan, tally.add)
            await client.close()
            return client.retries

    return tally, uvloop.run(main())


class Sometimes:
    """Misbehaves at every `nth` request to this place, in turn by each of the faults."""

    def __init__(self, method: str, start: str, *faults: Fault, nth: int = 3) -> None:
        self._method, self._start, self._faults, self._nth = method, start, faults, nth
        self.fired = Counter[str]()
        self._seen = 0

    def __call__(self, request: Request) -> Fault | None:
        if request.method != self._method or not request.path.startswith(self._start):
            return None
        self._seen += 1
        if self._seen % self._nth:
            return None
        fault = self._faults[self._seen // self._nth % len(self._faults)]
        self.fired[str(fault)] += 1
        return fault


def test_every_invoice_becomes_one_completed_checkout_of_its_customer() -> None:
    fake = FakeGateway()
    tally, retries = run(fake)
    assert tally.states() == {"COMPLETED": 20}
    assert tally.unfinished == []
    assert retries == 0
    assert sorted(fake.checkouts) == sorted(
        (f"customer-{invoice.customer}" if invoice.customer else "guest", f"run-{invoice.number}")
        for invoice in invoices()
    )
    sold = Counter[str]()
    for invoice in invoices():
        sold.update(dict(invoice.lines))
    assert {sku: row["sold"] for sku, row in fake.stock.items()} == sold
    assert len(fake.requests) == 20 * 3 + 1 + 1 + 1  # cart, checkout, end; prices, stock read and set


def test_latency_begins_when_the_checkout_is_sent_not_its_cart() -> None:
    seen: list[tuple[str, float]] = []

    def noted(request: Request) -> None:
        seen.append((f"{request.method} {request.path}", monotonic()))

    tally, _ = run(FakeGateway(noted), orders=invoices(1))
    at = dict(seen)
    (outcome,) = tally._outcomes.values()
    assert at["PUT /v1/carts/run-536365"] < outcome.sent_at <= at["POST /v1/checkouts"]
    assert at["GET /v1/checkouts/saga-0"] <= outcome.ended_at


def test_prices_are_the_catalogue_s() -> None:
    fake = FakeGateway()
    run(fake)
    assert fake.prices == CODES


def test_declined_cards_are_chosen_by_the_invoice_alone_in_about_their_share() -> None:
    numbers = [str(n) for n in range(536_365, 546_365)]
    cards = Counter(payment_method(number, 0.05) for number in numbers)
    assert set(cards) == {CARD, *DECLINED_CARDS}
    assert all(200 <= cards[card] <= 300 for card in DECLINED_CARDS)
    five = {number for number in numbers if payment_method(number, 0.05) != CARD}
    ten = {number for number in numbers if payment_method(number, 0.10) != CARD}
    assert five < ten
    assert {payment_method(number, 0.0) for number in numbers} == {CARD}
    assert CARD not in {payment_method(number, 1.0) for number in numbers}


def test_declined_cards_and_empty_shelves_are_counted_by_reason() -> None:
    tally, _ = run(FakeGateway(), ReplayPlan("run", declined=0.3, concurrency=1), invoices(60), pieces=200)
    reasons = tally.reasons()
    assert set(reasons) == {"out_of_stock", "card_declined", "insufficient_funds"}
    assert tally.states() == {"COMPLETED": 60 - sum(reasons.values()), "FAILED": sum(reasons.values())}
    again, _ = run(FakeGateway(), ReplayPlan("other", declined=0.3, concurrency=1), invoices(60), pieces=200)
    assert again.reasons() == reasons


BUSY = Answer(503, {"code": "dependency_unavailable"}, {"retry-after": "0"})
MANY = Answer(429, {"code": "too_many"}, {"retry-after": "0"})
BROKEN = Answer(500, {"code": "internal"})


@pytest.mark.parametrize(
    ("method", "start"),
    [
        ("PUT", "/v1/products"),
        ("GET", "/v1/stock"),
        ("PUT", "/v1/stock"),
        ("PUT", "/v1/carts"),
        ("POST", "/v1/checkouts"),
        ("GET", "/v1/checkouts"),
    ],
)
@pytest.mark.parametrize("fault", [BUSY, MANY, BROKEN, "close", "lose"])
def test_trouble_is_asked_again_until_it_is_over_and_nothing_counts_twice(
    method: str, start: str, fault: Fault
) -> None:
    often = 1 if start in {"/v1/products", "/v1/stock"} else 2
    trouble = Sometimes(method, start, fault, nth=2)
    trouble._seen = often % 2  # places that are asked once begin with the fault
    fake = FakeGateway(trouble)
    tally, retries = run(fake)
    assert trouble.fired.total() == retries >= 1
    assert tally.states() == {"COMPLETED": 20}
    assert len(fake.checkouts) == 20
    assert fake.prices == CODES


def test_a_hanging_answer_is_given_up_and_asked_for_again() -> None:
    trouble = Sometimes("POST", "/v1/checkouts", "hang", nth=4)
    fake = FakeGateway(trouble)
    tally, retries = run(fake, timeout_s=0.1)
    assert trouble.fired.total() == retries >= 1
    assert tally.states() == {"COMPLETED": 20}
    assert len(fake.checkouts) == 20


def test_retry_after_is_waited_for() -> None:
    answered: list[Request] = []

    def fault(request: Request) -> Fault | None:
        answered.append(request)
        return Answer(503, None, {"retry-after": "30"}) if request.method == "POST" else None

    tally, _ = run(FakeGateway(fault), ReplayPlan("run", patience_s=25), invoices(1))
    assert tally.states() == {"UNKNOWN": 1}  # 30 s are more than its patience
    assert [request.method for request in answered if "checkouts" in request.path] == ["POST"]


def test_patience_ends_and_says_what_was_tried() -> None:
    down = FakeGateway(lambda request: "close" if request.method == "POST" else None)
    tally, _ = run(down, ReplayPlan("run", patience_s=0.3), invoices(2))
    assert tally.states() == {"UNKNOWN": 2}
    assert tally.reasons() == {"out_of_patience": 2}
    assert (
        "POST /v1/checkouts: connection closed before the answer was whole, tried"
        in tally.unfinished[0].detail
    )


def test_a_saga_that_does_not_end_is_unknown_when_patience_ends() -> None:
    tally, _ = run(FakeGateway(early=1_000), ReplayPlan("run", patience_s=0.3), invoices(1))
    assert tally.states() == {"UNKNOWN": 1}
    assert "is still CHECKOUT_INITIATED" in tally.unfinished[0].detail


def test_a_status_that_is_not_held_back_is_not_asked_for_in_a_storm() -> None:
    fake = FakeGateway(early=5)
    tally, _ = run(fake, orders=invoices(1))
    assert tally.states() == {"COMPLETED": 1}
    assert fake.count("GET", "/v1/checkouts/saga-0") == 6
    (outcome,) = tally._outcomes.values()
    assert outcome.ended_at - outcome.sent_at > (50 + 100 + 200 + 400 + 800) / 2 / 1000


def test_a_refusal_is_final_and_names_the_problem() -> None:
    odd = Invoice("9", "1", (("unknown", 1),), 1)
    tally, retries = run(FakeGateway(), orders=[odd, *invoices(3)])
    assert tally.states() == {"COMPLETED": 3, "REFUSED": 1}
    assert tally.unfinished[0].reason == "unknown_product"
    assert "422 unknown_product it is unknown_product (/lines/0: unknown)" in tally.unfinished[0].detail
    assert retries == 0


def test_a_second_replay_with_another_name_makes_new_checkouts() -> None:
    fake = FakeGateway()
    run(fake)
    tally, _ = run(fake, ReplayPlan("second"))
    assert tally.states() == {"COMPLETED": 20}
    assert len(fake.checkouts) == 40
    assert all(row["on_hand"] + row["sold"] == row["initial"] for row in fake.stock.values())


def test_a_resumed_run_goes_on_with_the_same_checkouts_and_refills_no_cart() -> None:
    fake = FakeGateway()
    run(fake, orders=invoices(12))
    bought = {sku: row["sold"] for sku, row in fake.stock.items()}
    assert bought
    tally, _ = run(fake, ReplayPlan("run", resumed=True))
    assert tally.states() == {"COMPLETED": 20}
    assert len(fake.checkouts) == 20
    assert not any(fake.carts.values())
    assert {row["initial"] for row in fake.stock.values()} == {10_000}


def test_a_resumed_run_finds_a_cart_filled_but_not_checked_out() -> None:
    fake = FakeGateway(lambda request: "close" if request.method == "POST" else None)
    run(fake, ReplayPlan("run", patience_s=0.1), invoices(2))
    assert fake.carts
    assert not fake.checkouts
    fake.fault = lambda _: None
    tally, _ = run(fake, ReplayPlan("run", resumed=True), invoices(2))
    assert tally.states() == {"COMPLETED": 2}


@pytest.mark.parametrize(("concurrency", "early"), [(1, 2), (5, 12)])
def test_no_more_than_the_concurrency_are_under_way(concurrency: int, early: int) -> None:
    fake = FakeGateway(early=early)
    tally, _ = run(fake, ReplayPlan("run", concurrency=concurrency), invoices(12))
    assert tally.states() == {"COMPLETED": 12}
    assert fake.most_under_way == concurrency
    assert fake.connections <= concurrency


def test_a_rate_begins_invoices_by_the_clock_whatever_the_platform_does() -> None:
    fake = FakeGateway(
        lambda request: "hang" if request.method == "GET" and "saga-0" in request.path else None
    )
    begun: list[float] = []
    outcomes: list[ReplayResult] = []

    async def main() -> float:
        async with asyncio.timeout(20), fake.serving() as url:
            client = ApiClient(url, 0.1)
            await load_prices(client, OPERATOR, CODES, "GBP", 30)
            await load_stock(client, OPERATOR, CODES, 1000, 30, only_new=False)

            def token_for(user: str) -> str:
                begun.append(monotonic())
                return user

            plan = ReplayPlan("run", rate=100, concurrency=50, patience_s=0.5)
            late_s = await replay(invoices(20), client, token_for, plan, outcomes.append)
            await client.close()
            return late_s

    late_s = uvloop.run(main())
    assert all(begun[i] - begun[0] >= i * 0.01 - late_s - 0.001 for i in range(20))
    assert begun[-1] - begun[0] >= 0.19 - late_s - 0.001
    assert Counter(outcome.state for outcome in outcomes) == {"COMPLETED": 19, "UNKNOWN": 1}


@pytest.mark.parametrize(
    ("fault", "error"),
    [(Answer(403, {"code": "forbidden"}), RequestRefused), (Answer(503), OutOfPatience)],
)
@pytest.mark.parametrize("place", ["/v1/products", "/v1/stock"])
def test_a_catalogue_that_is_not_taken_stops_the_replay(
    place: str, fault: Answer, error: type[Exception]
) -> None:
    def refusing(request: Request) -> Fault | None:
        return fault if request.path == place else None

    with pytest.raises(error):
        run(FakeGateway(refusing), ReplayPlan("run", patience_s=0.1))


def test_stock_is_what_is_on_hand_now_not_what_there_ever_was() -> None:
    fake = FakeGateway()
    run(fake, pieces=100)
    run(fake, ReplayPlan("second"), invoices(1), pieces=100)
    used = Counter(dict(invoices(1)[0].lines))
    assert {sku: row["on_hand"] for sku, row in fake.stock.items()} == {sku: 100 - used[sku] for sku in CODES}


@pytest.mark.parametrize(
    "body", [b"", b"not json", b'"text"', b'{"code": "x", "errors": [{"pointer": "/a", "detail": "b"}]}']
)
def test_any_refusal_can_be_told(body: bytes) -> None:
    refused = RequestRefused("the cart", Response(422, {}, body))
    assert refused.reason in {"http_422", "x"}
    assert str(refused).startswith(f"the cart answered 422 {refused.reason}")


def ended(invoice: int, state: str, sent_at: float, ended_at: float, reason: str = "") -> ReplayResult:
    return ReplayResult(str(invoice), state, reason, "", sent_at, ended_at)


def test_the_summary_counts_and_measures() -> None:
    tally = ReplayStats()
    for n in range(100):
        tally.add(ended(n, "COMPLETED", 10.0, 10.0 + (n + 1) / 100))
    tally.add(ended(100, "FAILED", 9.0, 14.0, "out_of_stock"))
    assert tally.summary() == {
        "checkouts": 101,
        "states": {"COMPLETED": 100, "FAILED": 1},
        "reasons": {"out_of_stock": 1},
        "seconds": 5.0,
        "per_s": 20.2,
        "p50_ms": 500.0,
        "p99_ms": 990.0,
    }


def test_the_summary_of_nothing_has_no_percentiles() -> None:
    assert ReplayStats().summary()["p50_ms"] is None
    tally = ReplayStats()
    tally.add(ended(1, "FAILED", 1.0, 1.0, "x"))
    assert tally.summary()["per_s"] is None


def test_an_invoice_counts_once() -> None:
    tally = ReplayStats()
    tally.add(ended(1, "FAILED", 1.0, 2.0, "x"))
    with pytest.raises(AssertionError, match="1 was counted before"):
        tally.add(ended(1, "COMPLETED", 1.0, 2.0))
