"""One request and its answer, as the application sees them: uvicorn's class, able to end the connection."""

from collections.abc import Coroutine
from typing import Any

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from holdfast.http_server import refusals
from holdfast.http_server.connection_table import ConnectionTable


class GuardedCycle(RequestResponseCycle):
    """One request and its answer; the last of its connection if the body is incomplete or we are stopping."""

    def __init__(self, table: ConnectionTable, **named: Any) -> None:
        super().__init__(**named)
        self._table = table

    def send(self, message: Any) -> Coroutine[Any, Any, None]:  # one frame less than async
        """See ASGI; decides first whether another request may follow."""
        if not self.response_started and (self.more_body or self._table.is_leaving):
            self.keep_alive = False
        return super().send(message)

    async def send_500_response(self) -> None:
        """Send a 500, because the application raised an exception."""
        body = refusals.document(refusals.INTERNAL_ERROR)
        headers = [
            (b"content-type", b"application/problem+json"),
            (b"content-length", b"%d" % len(body)),
            (b"connection", b"close"),
        ]
        await self.send({"type": "http.response.start", "status": 500, "headers": headers})
        await self.send({"type": "http.response.body", "body": body})

    def cut(self) -> None:
        """Tell the application that the client has disconnected."""
        self.disconnected = True
        self.message_event.set()
