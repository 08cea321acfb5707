"""/v1/payments and webhooks: who may read and act, what is refused, what a webhook does."""

import asyncio
import hmac
import json
import time
from collections.abc import Awaitable, Callable
from hashlib import sha256

import httpx2
from tests.callers import Caller, authenticator, calling, keys, problem, whole
from tests.samples import saga_id
from tests.unit.services.payment_gateway.payment_harness import SAGA
from tests.unit.services.payment_gateway.test_settlement import CHARGE, ListingWorld

from holdfast.messaging.fence import FenceState
from holdfast.messaging.store import OperatorAction
from holdfast.services.payment_gateway.api import PaymentApi, WebhookApi, apps
from holdfast.services.payment_gateway.domain import REFUND_FAILED, Declined, Succeeded, Unknown
from holdfast.services.payment_gateway.payment_operator import PaymentOperator

PATH = "/v1/payments"
RESOLVE = f"{PATH}/{SAGA}/resolve"
SECRET = "whsec_1"
REFUNDED = {"outcome": "refunded", "reason": "paid back by bank"}


class Door:
    """The service's HTTP application over memory, and three kinds of callers."""

    def __init__(self) -> None:
        self.world = ListingWorld()
        self.woken = 0
        self.operator: Caller
        self.shopper: Caller
        self.nobody: httpx2.AsyncClient

    def wake(self) -> None:
        self.woken += 1

    async def webhook(self, kind: str, saga: str = SAGA, secret: str = SECRET) -> httpx2.Response:
        about = {"id": "pi_1", "metadata": {"saga_id": saga}}
        body = json.dumps({"type": kind, "data": {"object": about}}).encode()
        at = int(time.time())
        signature = hmac.new(secret.encode(), f"{at}.".encode() + body, sha256).hexdigest()
        headers = {"stripe-signature": f"t={at},v1={signature}"}
        return await self.nobody.post("/webhooks/provider", content=body, headers=headers)

    def owe(self) -> None:
        """Charge, and have the refund refused."""
        self.world.command("do")
        self.world.charge(Succeeded("pi_1"))
        self.world.command("undo")
        self.world.charge(Declined("charge_disputed", "no"))


def visit(scenario: Callable[[Door], Awaitable[None]]) -> None:
    async def run() -> None:
        door = Door()
        harness = PaymentOperator(door.world.store, door.world.loop, door.world.provider)
        webhook = WebhookApi(SECRET, harness, door.world.settlement, door.wake)
        with keys() as signing:
            api = PaymentApi(harness, authenticator(signing))
            async with calling(whole(apps(api, webhook))) as client:
                door.nobody = client
                door.operator = Caller(client, signing.token("olga", operator=True))
                door.shopper = Caller(client, signing.token("ada"))
                await scenario(door)

    asyncio.run(run())


def test_only_operators_look_and_act() -> None:
    async def scenario(door: Door) -> None:
        door.owe()
        for method, path, body in (("GET", PATH, None), ("POST", RESOLVE, REFUNDED)):
            assert problem(await door.shopper.ask(method, path, body))[0] == 403
            assert problem(await door.nobody.request(method, path))[0] == 401
        assert door.world.rows("operator_actions") == {}

    visit(scenario)


def test_payments_are_listed_by_what_is_open() -> None:
    async def scenario(door: Door) -> None:
        door.owe()
        for n in (2, 3):
            door.world.command("do", saga=saga_id(n))
        door.world.charge(Unknown("http_500"), Succeeded("pi_3"))

        async def listed(query: str) -> list[str]:
            answer = await door.operator.ask("GET", f"{PATH}{query}")
            return [item["saga_id"] for item in answer.json()["items"]]

        assert await listed("") == [SAGA, saga_id(2), saga_id(3)]
        assert await listed("?owed=true") == [SAGA]
        assert await listed("?unknown=true") == [saga_id(2)]
        assert await listed(f"?saga_id={saga_id(3)}") == [saga_id(3)]
        first = (await door.operator.ask("GET", f"{PATH}?limit=2")).json()
        assert first["next"] == saga_id(2)
        assert await listed(f"?limit=2&after={first['next']}") == [saga_id(3)]
        [owed] = (await door.operator.ask("GET", f"{PATH}?owed=true")).json()["items"]
        assert (owed["state"], owed["charge_id"], owed["owed"]) == ("UNDOING", "pi_1", True)
        assert owed["last_error"] == "refund refused: charge_disputed"
        assert owed["key"] == f"{SAGA}:payment:undo"

    visit(scenario)


def test_what_makes_no_sense_is_refused() -> None:
    async def scenario(door: Door) -> None:
        door.owe()
        for limit in ("0", "1001", "x", "-1"):
            answer = await door.operator.ask("GET", f"{PATH}?limit={limit}")
            assert problem(answer) == (422, "invalid_request", ["/limit"])
        for saga in ("nonsense", saga_id(9)):
            assert problem(await door.operator.ask("GET", f"{PATH}?saga_id={saga}"))[0] == 404
            assert problem(await door.operator.ask("POST", f"{PATH}/{saga}/resolve", REFUNDED))[0] == 404
        for wrong in (
            {"outcome": "refunded"},
            {**REFUNDED, "reason": ""},
            {**REFUNDED, "outcome": "stolen"},
            {**REFUNDED, "amount_minor": 1},
            {**REFUNDED, "charge_id": "pi 1"},
        ):
            assert problem(await door.operator.ask("POST", RESOLVE, wrong))[0] == 422, wrong
        assert problem(await door.operator.ask("POST", RESOLVE, raw=b"{"))[0] == 400
        assert door.world.rows("operator_actions") == {}

    visit(scenario)


def test_a_word_is_checked_and_kept_with_the_name_of_who_said_it() -> None:
    async def scenario(door: Door) -> None:
        door.owe()
        door.world.provider.answers = [Unknown("not_found")]
        answer = await door.operator.ask("POST", RESOLVE, REFUNDED)
        assert problem(answer)[:2] == (409, "provider_disagrees")
        assert door.world.rows("operator_actions") == {}
        door.world.provider.answers = [Unknown("connection_lost")]
        assert problem(await door.operator.ask("POST", RESOLVE, REFUNDED))[0] == 503
        door.world.provider.answers = [Succeeded("re_by_hand")]
        answer = await door.operator.ask("POST", RESOLVE, REFUNDED)
        assert answer.status_code == 200, answer.text
        assert (answer.json()["state"], answer.json()["refund_id"]) == ("UNDONE", "re_by_hand")
        assert problem(await door.operator.ask("POST", RESOLVE, REFUNDED))[:2] == (409, "payment_not_open")
        [(_, action)] = door.world.rows("operator_actions").values()
        assert action == OperatorAction("olga", "payment.resolve.refunded", SAGA, "paid back by bank")

    visit(scenario)


def test_a_webhook_needs_its_signature_and_is_only_a_hint() -> None:
    async def scenario(door: Door) -> None:
        door.world.command("do")
        door.world.charge(Unknown("timeout"))
        assert problem(await door.webhook("payment_intent.succeeded", secret="whsec_2"))[0] == 400
        assert door.woken == 0
        for kind in ("payment_intent.payment_failed", *["payment_intent.succeeded"] * 10):
            assert (await door.webhook(kind)).status_code == 204
        assert door.woken >= 1
        assert door.world.fence().state is FenceState.RUNNING, "nothing is believed"
        assert door.world.charge(Succeeded("pi_1")) == ["PaymentProcessed"], "and it is asked at once"
        woken = door.woken
        for kind in ("payment_intent.payment_failed", "payment_intent.canceled", "payment_intent.succeeded"):
            assert (await door.webhook(kind)).status_code == 204
        assert door.woken == woken, "nothing is asked any more"
        assert door.world.fence().state is FenceState.DONE, "and nothing moves back"
        assert (await door.webhook("payment_intent.succeeded", saga=saga_id(9))).status_code == 204

    visit(scenario)


def test_a_webhook_that_cannot_be_checked_now_is_not_taken_and_comes_again() -> None:
    async def scenario(door: Door) -> None:
        door.world.command("do")
        door.world.charge(Succeeded("pi_1"))
        door.world.command("undo")
        door.world.charge(Succeeded("re_1"))
        listed, door.world.listing.listed = [CHARGE], None
        assert problem(await door.webhook("refund.failed"))[:2] == (503, "dependency_unavailable")
        door.world.listing.listed = listed
        door.world.listing.answers = [Declined("refund_failed", "")]
        assert (await door.webhook("refund.failed")).status_code == 204
        assert door.world.payment().last_error == REFUND_FAILED

    visit(scenario)
