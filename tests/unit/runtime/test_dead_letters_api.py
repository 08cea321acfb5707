"""/v1/dead-letters: who may look and act, what is refused, and that nothing shown can hurt a terminal."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from fastapi import FastAPI
from tests.callers import Caller, authenticator, calling, keys, problem
from tests.samples import saga_id
from tests.unit.messaging.kernel_harness import KernelHarness, record

from holdfast.contracts.topics import INVENTORY_COMMANDS
from holdfast.messaging.dead_letters import DeadLetters
from holdfast.runtime import dead_letters_api, problems

PATH = "/v1/dead-letters"
PLACES = [f"{INVENTORY_COMMANDS}/0/{n}" for n in range(3)]


class Harness:
    """A service with three parked records and three kinds of callers."""

    def __init__(self) -> None:
        self.world = KernelHarness()
        for n in range(3):
            spoiled = record(n, n)._replace(value=b'{"n":%d}' % n)
            self.world.processor.park(spoiled, "handler_failed", f"bug {n}")
        self.operator: Caller
        self.shopper: Caller

    def statuses(self) -> list[str]:
        return [row.status for row in self.world.rows("parked").values()]


def harness(scenario: Callable[[Harness], Awaitable[None]]) -> Harness:
    async def run() -> Harness:
        made = Harness()
        with keys() as signing:
            app = FastAPI()
            problems.install(app)
            letters = DeadLetters(made.world.processor, lambda: None)
            app.include_router(dead_letters_api.router(letters, authenticator(signing)))
            async with calling(app) as client:
                made.operator = Caller(client, signing.token("olga", operator=True))
                made.shopper = Caller(client, signing.token("ada"))
                await scenario(made)
        return made

    return asyncio.run(run())


async def acted(harness: Harness, verb: str, body: dict[str, Any]) -> dict[str, Any]:
    answer = await harness.operator.ask("POST", f"{PATH}/{verb}", body)
    assert answer.status_code == 200, answer.text
    document: dict[str, Any] = answer.json()
    return document


def test_pages_and_filters() -> None:
    async def scenario(harness: Harness) -> None:
        first = (await harness.operator.ask("GET", f"{PATH}?limit=2")).json()
        assert [row["place"] for row in first["items"]] == PLACES[:2]
        rest = (await harness.operator.ask("GET", f"{PATH}?limit=2&after={first['next']}")).json()
        assert ([row["place"] for row in rest["items"]], rest["next"]) == (PLACES[2:], None)
        one = (await harness.operator.ask("GET", f"{PATH}?saga_id={saga_id(1)}&status=parked")).json()[
            "items"
        ]
        assert [row["place"] for row in one] == PLACES[1:2]
        assert one[0]["service"] == "inventory-write"
        assert not (await harness.operator.ask("GET", f"{PATH}?outcome=processed")).json()["items"]

    harness(scenario)


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ("limit=0", "/limit"),
        ("limit=101", "/limit"),
        ("after=here", "/after"),
        ("saga_id=1", "/saga_id"),
        ("topic=a%00", "/topic"),
        ("reason=a%20b", "/reason"),
    ],
)
def test_an_impossible_question_is_refused(query: str, pointer: str) -> None:
    async def scenario(harness: Harness) -> None:
        answer = await harness.operator.ask("GET", f"{PATH}?{query}")
        assert problem(answer) == (422, "invalid_request", [pointer])

    harness(scenario)


def test_one_is_shown_escaped_cut_and_without_card_numbers() -> None:
    async def scenario(harness: Harness) -> None:
        value = b"card 4242424242424242 \x1b[31m\xff\n" + b"x" * 5_000
        spoiled = record(9, 9)._replace(value=value, headers=(("ce\x1bid", b"\x00\x1b"),))
        harness.world.processor.park(spoiled, "malformed_json", "\x1b[2J")
        shown = (await harness.operator.ask("GET", f"{PATH}/{INVENTORY_COMMANDS}/0/9")).json()
        assert shown["value"].startswith(r"card **************** \x1b[31m\xff\nxxx")
        assert shown["value"].endswith(f"... ({len(value)} bytes)")
        assert shown["headers"] == [[r"ce\x1bid", r"\x00\x1b"], ["x-masked", "card_number"]]
        assert json.dumps(shown).isprintable()
        for missing in (f"{INVENTORY_COMMANDS}/0/999", "x/y/z"):
            assert problem(await harness.operator.ask("GET", f"{PATH}/{missing}"))[:2] == (404, "not_found")

    harness(scenario)


def test_redrive_and_discard_by_place_and_filter() -> None:
    async def scenario(harness: Harness) -> None:
        body = {"places": [PLACES[0], f"{INVENTORY_COMMANDS}/0/77"], "reason": "mended"}
        document = await acted(harness, "redrive", body)
        assert document["done"] == PLACES[:1]
        assert document["skipped"] == [{"place": f"{INVENTORY_COMMANDS}/0/77", "why": "missing"}]
        by_filter = {"filter": {"reason": "handler_failed"}, "reason": "noise"}
        assert (await acted(harness, "discard", {**by_filter, "dry_run": True}))["done"] == PLACES[1:]
        assert harness.statuses() == ["redriven", "parked", "parked"]
        assert (await acted(harness, "discard", {**by_filter, "limit": 1}))["done"] == PLACES[1:2]
        assert (await acted(harness, "redrive", by_filter))["done"] == PLACES[2:]

    made = harness(scenario)
    assert made.statuses() == ["redriven", "discarded", "redriven"]
    log = [tuple(action) for _, action in made.world.rows("operator_actions").values()]
    assert log == [
        ("olga", "dlq_redriven", PLACES[0], "mended"),
        ("olga", "dlq_discarded", PLACES[1], "noise"),
        ("olga", "dlq_redriven", PLACES[2], "noise"),
    ]


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        ({"places": PLACES}, ["/reason"]),
        ({"places": PLACES, "reason": " "}, ["/reason"]),
        ({"places": PLACES, "reason": "a\nb"}, ["/reason"]),
        ({"places": [], "reason": "r"}, ["/places"]),
        ({"places": PLACES * 40, "reason": "r"}, ["/places"]),
        ({"places": [PLACES[0], "x"], "reason": "r"}, ["/places/1"]),
        ({"reason": "r"}, []),
        ({"places": PLACES, "filter": {}, "reason": "r"}, []),
        ({"filter": {"status": "redriven"}, "reason": "r"}, ["/filter/status"]),
    ],
)
def test_an_impossible_act_is_refused_and_nothing_done(body: dict[str, Any], pointers: list[str]) -> None:
    async def scenario(harness: Harness) -> None:
        for verb in ("redrive", "discard"):
            answer = await harness.operator.ask("POST", f"{PATH}/{verb}", body)
            assert problem(answer) == (422, "invalid_request", pointers)

    assert harness(scenario).statuses() == ["parked"] * 3


def test_shoppers_neither_look_nor_act() -> None:
    async def scenario(harness: Harness) -> None:
        for method, path in (
            ("GET", PATH),
            ("GET", f"{PATH}/{PLACES[0]}"),
            ("POST", f"{PATH}/redrive"),
            ("POST", f"{PATH}/discard"),
        ):
            answer = await harness.shopper.ask(method, path, {"places": PLACES, "reason": "r"})
            assert problem(answer)[:2] == (403, "forbidden")

    assert harness(scenario).statuses() == ["parked"] * 3
