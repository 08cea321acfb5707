"""uvicorn's HTTP/1.1 protocol with a bound on every byte and every second before the application is called.

Either the client must act next (`_awaits` says how, with a deadline), or we must. After its last answer a
connection reads and discards a bounded rest of what its client sends, and is then closed.
"""

import asyncio
import math
import urllib.parse
from typing import TYPE_CHECKING, Any

import httptools
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from holdfast.http_server import refusals, request_rules
from holdfast.http_server.guarded_cycle import GuardedCycle
from holdfast.http_server.refusals import Refusal
from holdfast.http_server.request_rules import MalformedRequest

if TYPE_CHECKING:
    from holdfast.http_server.config import GuardedConfig

PIECE = 16 * 1024
"""Bytes given to the parser at once; so it keeps little of a request that exceeds a bound."""

_BETWEEN, _HEAD, _BODY = range(3)
_FIRST_BYTE, _NEXT, _REST_OF_HEAD, _REST_OF_BODY, _READING_ANSWER, _LEAVING = range(6)


class GuardedProtocol(HttpToolsProtocol):
    """One connection. The cycles' `transport` is this object: `write`, `close`, `is_closing`."""

    def __init__(self, config: "GuardedConfig", *arguments: Any, **named: Any) -> None:
        super().__init__(config, *arguments, **named)
        self.table, self.limits = config.table, config.limits
        self.deadline = self.answer_deadline = math.inf
        self._awaits: int | None = None
        self._reading = _BETWEEN
        self._unclaimed = 0  # bytes of the head, or of the body's framing, that the parser was given
        self._since_chunk = 0
        self._body_bytes = 0
        self._seen: set[bytes] = set()
        self.cycle: GuardedCycle
        self._active: GuardedCycle | None = None
        self._pending_refusal = b""  # it waits for the answers before it
        self._is_deaf = False  # no more input is parsed
        self._is_over = False  # nothing more is written
        self._lingered = 0

    # -- the transport's calls

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        transport.set_write_buffer_limits(high=HIGH_WATER_LIMIT, low=0)
        if self.table.admit(self, self.client[0] if self.client else ""):
            self._await(_FIRST_BYTE, self.limits.first_byte_s)
        elif self.table.turn_away(self):
            self._refuse(refusals.OVERLOADED, "no connection is free")
        else:
            self.table.refused["turned_away"] += 1
            transport.abort()

    def data_received(self, data: bytes) -> None:
        if self._is_deaf:
            self._discard(len(data))
            return
        if self._reading == _BETWEEN:
            self._begin_head()
        if len(data) <= PIECE:
            self._parse(data)
        else:
            for start in range(0, len(data), PIECE):
                self._parse(data[start : start + PIECE])
                if self._is_deaf:
                    break
        self._settle()

    def connection_lost(self, exc: Exception | None) -> None:
        self.table.remove(self)
        self._is_deaf = self._is_over = True
        self.deadline = self.answer_deadline = math.inf
        for cycle in (self._active, *(queued for queued, _ in self.pipeline)):
            if isinstance(cycle, GuardedCycle) and not cycle.response_complete:
                cycle.cut()
        self.pipeline.clear()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self.answer_deadline = self.loop.time() + self.limits.answer_s
        self._await(_READING_ANSWER, math.inf)

    def resume_writing(self) -> None:
        super().resume_writing()
        self.answer_deadline = math.inf
        self._settle()

    # -- the server's and the table's calls

    def shutdown(self) -> None:
        """Stop soon: requests under way or just arriving are answered, silent connections are closed."""
        self.table.is_leaving = True
        if self._awaits in (_FIRST_BYTE, _NEXT):
            self.deadline = min(self.deadline, self.loop.time() + self.limits.stop_s)

    def expire(self, now: float) -> None:
        """Act on a deadline that has passed; see `connection_table.Connection`."""
        if self.answer_deadline <= now:
            self.answer_deadline = math.inf
            if self.transport.get_write_buffer_size():
                self._abort("answer_not_read")
                return
        if self.deadline > now:
            return
        self.deadline = math.inf
        if self._awaits in (_REST_OF_HEAD, _REST_OF_BODY):
            self._refuse(refusals.REQUEST_TIMEOUT, "the rest of the request did not come in time")
        elif self._awaits != _LEAVING:
            self.table.refused["silent"] += self._awaits == _FIRST_BYTE
            self._is_deaf = self._is_over = True
            self._await(_LEAVING, self.limits.linger_s)
            self.transport.close()
        elif self.answer_deadline < math.inf and self.transport.get_write_buffer_size():
            self.deadline = now + self.limits.linger_s
        else:
            self.transport.abort()

    def give_way(self) -> None:
        """Close, so that another connection can be admitted."""
        if self._awaits == _REST_OF_HEAD and self._active is None:
            self.transport.write(self._problem(refusals.OVERLOADED, "the request did not come in time"))
            self.transport.close()
        if not self.transport.is_closing() or self.transport.get_write_buffer_size():
            self.transport.abort()

    # -- the cycles' calls

    def write(self, data: bytes) -> None:
        if not self._is_over:
            self.transport.write(data)

    def is_closing(self) -> bool:
        return self._is_over or self.transport.is_closing()

    def close(self) -> None:
        """End the connection after what was written; for a while, read what the client still sends.

        A connection closed with unread bytes is reset, and its client may lose the answer.
        """
        if self._is_over:
            return
        self._is_deaf = self._is_over = True
        self.pipeline.clear()
        if self.transport.is_closing():
            return
        self._await(_LEAVING, self.limits.linger_s)
        self._watch_answer()
        self.transport.write_eof()
        self.flow.resume_reading()

    def on_response_complete(self) -> None:
        self.server_state.total_requests += 1
        self._active = None
        if self._is_over:
            return
        self.flow.resume_reading()
        if self.pipeline:
            cycle, app = self.pipeline.pop()
            self._start(cycle, app)
        elif self._pending_refusal:
            self.write(self._pending_refusal)
            self.close()
        elif self._is_deaf:
            self.close()
        else:
            self._settle()

    # -- the parser's calls

    def on_message_begin(self) -> None:
        if self._reading != _HEAD:
            self._begin_head()
        if self.cycle is not None and not self.cycle.keep_alive:
            self._is_deaf = True  # what follows a request that is the last is no request
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        self.url += url
        if len(self.url) > self.limits.target_bytes_max:
            raise MalformedRequest(
                refusals.TARGET_TOO_LONG, f"at most {self.limits.target_bytes_max} bytes are read"
            )

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._reading != _HEAD:
            return  # a trailer: headers cannot be added after the check
        name = name.lower()
        limits = self.limits
        if len(name) + len(value) > limits.header_bytes_max or len(self.headers) >= limits.headers_max:
            request_rules.refuse_size(limits, len(name) + len(value))
        if name in request_rules.SINGLE:
            request_rules.check_single(limits, self._seen, name, value)
            if name == b"expect" and value.lower() == b"100-continue":
                self.expect_100_continue = True
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        if self._is_deaf:
            return
        version = self.parser.get_http_version()
        request_rules.check_framing(self._seen, version)
        self._fill_scope(version)
        is_last = version == "1.0" or not self.parser.should_keep_alive() or self.parser.should_upgrade()
        cycle = self._new_cycle(keep_alive=not is_last)
        self._reading = _BODY
        self._unclaimed = self._since_chunk = self._body_bytes = 0
        self.cycle = cycle
        if self._active is None:
            self._start(cycle, self.app)
            return
        self.flow.pause_reading()
        self.pipeline.appendleft((cycle, self.app))
        if len(self.pipeline) >= self.limits.pipelined_max:
            cycle.keep_alive = False  # a client sends what was not answered once more (RFC 9112, 9.3.2)

    def on_chunk_header(self) -> None:
        self._since_chunk = 0

    def on_body(self, body: bytes) -> None:
        if self._is_deaf:
            return
        self._unclaimed -= len(body)
        self._since_chunk = 0
        self._body_bytes += len(body)
        if self._body_bytes > self.limits.body_bytes_max:
            raise MalformedRequest(
                refusals.BODY_TOO_LARGE, f"at most {self.limits.body_bytes_max} bytes are accepted"
            )
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._reading = _BETWEEN
        self._awaits = None  # so that the next request has its own time
        if not self._is_deaf:
            super().on_message_complete()

    # -- reading

    def _begin_head(self) -> None:
        self._reading = _HEAD
        self._unclaimed = 0
        self._seen.clear()

    def _parse(self, piece: bytes) -> None:
        self._unclaimed += len(piece)
        self._since_chunk += len(piece)
        try:
            self.parser.feed_data(piece)
        except httptools.HttpParserUpgrade:
            self._is_deaf = True  # it is answered in HTTP/1.1, and what follows would be something else
        except httptools.HttpParserError as error:
            if self._is_deaf:
                return
            flaw = error.__context__
            if isinstance(flaw, MalformedRequest):
                self._refuse(flaw.refusal, flaw.detail)
            else:
                self._refuse(refusals.MALFORMED_REQUEST)
        else:
            if not self._is_deaf:
                self._check_bounds()

    def _check_bounds(self) -> None:
        if self._reading == _HEAD and self._unclaimed > self.limits.head_bytes_max:
            detail = f"all together have at most {self.limits.head_bytes_max} bytes"
            self._refuse(refusals.HEADERS_TOO_LARGE, detail)
        elif self._reading == _BODY:
            # A chunk of one byte has five of framing. Trailers come after the last chunk.
            framing_max = self.limits.framing_bytes_max
            if self._since_chunk > framing_max and self._unclaimed > framing_max:
                self._refuse(refusals.HEADERS_TOO_LARGE, "the body's framing or its trailers have no end")
            elif self._unclaimed > framing_max + 8 * self._body_bytes:
                self._refuse(refusals.BODY_TOO_LARGE, "the body's framing is larger than the body")

    def _fill_scope(self, version: str) -> None:
        target = httptools.parse_url(self.url)
        raw_path = target.path or b"/"
        path = raw_path.decode("ascii")
        self.scope["method"] = self.parser.get_method().decode("ascii")
        self.scope["http_version"] = version
        self.scope["path"] = urllib.parse.unquote(path) if "%" in path else path
        self.scope["raw_path"] = raw_path
        self.scope["query_string"] = target.query or b""

    def _new_cycle(self, *, keep_alive: bool) -> GuardedCycle:
        return GuardedCycle(
            self.table,
            scope=self.scope,
            transport=self,  # it has the three methods of a transport that a cycle calls
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=self.access_log,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=self.expect_100_continue,
            keep_alive=keep_alive,
            on_response=self.on_response_complete,
        )

    def _start(self, cycle: Any, app: Any) -> None:
        self._active = cycle
        self._start_asgi_task(cycle, app)

    def _discard(self, length: int) -> None:
        """Discard what comes after the last request, or after an answer that did not wait for the body."""
        self._lingered += length
        if self._lingered > self.limits.linger_bytes_max:
            if self._is_over:
                self.transport.abort()
            else:
                self.flow.pause_reading()  # until the last answer is given

    # -- waiting

    def _settle(self) -> None:
        """Note who must act next; a deadline runs from the moment at which its part of the request began."""
        if self._is_over or self.flow.write_paused:
            return
        if self._is_deaf:
            awaits = None
        elif self._reading == _HEAD:
            awaits = _REST_OF_HEAD
        elif self._reading == _BODY:
            awaits = _REST_OF_BODY
        else:
            awaits = _NEXT if self._active is None else None
        if awaits is None:
            self._awaits, self.deadline = None, math.inf
            self.table.works(self)
        elif awaits == _NEXT:
            self._watch_answer()
            self._await(_NEXT, self.limits.keep_alive_s)
        elif awaits != self._awaits:
            limits = self.limits
            self._await(awaits, limits.head_s if awaits == _REST_OF_HEAD else limits.body_s)

    def _await(self, what: int, seconds: float) -> None:
        self._awaits = what
        self.deadline = self.loop.time() + seconds
        if self._active is None or what >= _READING_ANSWER or (what == _REST_OF_BODY and self._is_current):
            self.table.waits(self)
        else:
            self.table.works(self)

    @property
    def _is_current(self) -> bool:
        """Whether the request that is being read is the one that is being answered."""
        return self.cycle is self._active

    def _watch_answer(self) -> None:
        """Set or clear the deadline by which the client must read its answer."""
        if not self.transport.get_write_buffer_size():
            self.answer_deadline = math.inf
        elif self.answer_deadline == math.inf:
            self.answer_deadline = self.loop.time() + self.limits.answer_s

    # -- refusing

    def _refuse(self, refusal: Refusal, detail: str = "") -> None:
        """Answer instead of the application, after the answers that are owed, and end the connection."""
        self.table.refused[refusal.code] += 1
        self._is_deaf = True
        problem = self._problem(refusal, detail)
        if self._reading == _BODY:
            self.cycle.cut()
            if self._is_current:
                if self.cycle.response_started:
                    self._abort("cut_off")
                    return
                self._active = None
            else:
                self.pipeline.popleft()
        if self._active is None:
            self.write(problem)
            self.close()
        else:
            self._pending_refusal = problem

    def _problem(self, refusal: Refusal, detail: str) -> bytes:
        return refusals.response(refusal, detail, self.server_state.default_headers)

    def _abort(self, reason: str) -> None:
        self.table.refused[reason] += 1
        self._is_deaf = self._is_over = True
        self.transport.abort()
