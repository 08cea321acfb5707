"""One request too many is refused, at once and with a time to come back."""

import asyncio

import httpx2
from tests.callers import problem

from holdfast.runtime.request_limit import App, Receive, RequestLimit, Scope, Send


class Slow:
    """An application that answers when it is let."""

    def __init__(self) -> None:
        self.let = asyncio.Event()
        self.full = asyncio.Event()
        self.came = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.came += 1
        if self.came == 2:
            self.full.set()
        if scope["path"] == "/slow":
            await self.let.wait()
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})


def client_of(app: App) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://door")


def test_one_more_than_there_is_room_for_is_refused_and_then_there_is_room_again() -> None:
    async def scenario() -> None:
        slow = Slow()
        async with client_of(RequestLimit(slow, requests_max=2)) as client:
            working = [asyncio.create_task(client.get("/slow")) for _ in range(2)]
            await slow.full.wait()
            refused = await client.get("/slow")
            assert problem(refused) == (503, "overloaded", [])
            assert refused.headers["retry-after"] == "2"
            assert slow.came == 2, "the refused one never came in"
            slow.let.set()
            assert [answer.status_code for answer in await asyncio.gather(*working)] == [204, 204]
            assert (await client.get("/slow")).status_code == 204

    asyncio.run(scenario())
