"""/v1/dead-letters on every service's operations port: shows parked messages, redrives and discards them.

A message's content is shown cut and escaped; it is not decoded here.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Request, Response
from msgspec import Meta, Struct

from holdfast.contracts.card_numbers import mask_card_numbers_in
from holdfast.messaging.dead_letters import Actor, DeadLetterResult, DeadLetters
from holdfast.messaging.parked import DeadLetterFilter, LogPosition, ParkedRecord, ParkedSummary, summary
from holdfast.runtime.auth import OPERATOR_ACTS, OPERATOR_READS, Authenticator
from holdfast.runtime.bodies import decode, read_body
from holdfast.runtime.parameters import is_uuid, page_size, query
from holdfast.runtime.problems import INVALID_REQUEST, NOT_FOUND, FieldError, Problem
from holdfast.runtime.threads import Threads

PAGE_MAX = 100
SHOWN_BYTES_MAX = 4_000

_WORD = re.compile(r"[A-Za-z0-9._-]{0,249}", re.ASCII)

Reason = Annotated[str, Meta(max_length=500, pattern=r"^(?=.*\S)[^\x00-\x1f\x7f]+(?!\n)$")]
PlaceText = Annotated[str, Meta(max_length=300)]


class DeadLetterQuery(Struct, forbid_unknown_fields=True):
    topic: str = ""
    reason: str = ""
    saga_id: str = ""


class DeadLetterAct(Struct, forbid_unknown_fields=True):
    """Which parked messages (`places`, or the first `limit` that match `filter`), and the reason."""

    reason: Reason
    places: Annotated[list[PlaceText], Meta(min_length=1, max_length=PAGE_MAX)] | None = None
    filter: DeadLetterQuery | None = None
    limit: Annotated[int, Meta(ge=1, le=PAGE_MAX)] = PAGE_MAX
    dry_run: bool = False


_act = msgspec.json.Decoder(DeadLetterAct)


def router(dead_letters: DeadLetters, authenticator: Authenticator) -> APIRouter:
    """Make the endpoints."""
    api = APIRouter(prefix="/v1/dead-letters", include_in_schema=False)
    threads = Threads("dead_letters", 1)  # the writer and the pruner need the other connections

    @api.get("")
    async def page(request: Request) -> Response:
        authenticator.require(request.headers.get("authorization"), OPERATOR_READS)
        asked = query(request, *DeadLetterFilter._fields, "limit", "after")
        filters, limit = _filter(asked), page_size(asked, PAGE_MAX, PAGE_MAX)
        after = _position(asked["after"], "/after") if asked.get("after") else None
        rows = await threads.run(dead_letters.find, filters, after, limit)
        following = str(rows[-1].place) if len(rows) == limit else None
        return _json({"items": [_row(dead_letters.service, row) for row in rows], "next": following})

    @api.get("/{topic}/{partition}/{offset}")
    async def one(request: Request) -> Response:
        authenticator.require(request.headers.get("authorization"), OPERATOR_READS)
        position = LogPosition.parse(
            "/".join(request.path_params[part] for part in ("topic", "partition", "offset"))
        )
        row = await threads.run(dead_letters.show, position) if position else None
        if row is None:
            raise Problem(NOT_FOUND, "nothing is parked from that place")
        return _json(_whole(dead_letters.service, row))

    @api.post("/redrive")
    async def redrive(request: Request) -> Response:
        return await act(request, "redrive")

    @api.post("/discard")
    async def discard(request: Request) -> Response:
        return await act(request, "discard")

    async def act(request: Request, verb: str) -> Response:
        user = authenticator.require(request.headers.get("authorization"), OPERATOR_ACTS)
        asked = decode(_act, await read_body(request.receive))
        actor = Actor(user.name, asked.reason)
        return _json(await threads.run(_act_on, dead_letters, asked, actor, verb))

    return api


def _act_on(dead_letters: DeadLetters, asked: DeadLetterAct, actor: Actor, verb: str) -> dict[str, Any]:
    if (asked.places is None) == (asked.filter is None):
        raise Problem(INVALID_REQUEST, "say either places or filter")
    if asked.filter is not None:
        filters = _filter(msgspec.structs.asdict(asked.filter))._replace(status="parked")
        positions = [row.place for row in dead_letters.find(filters, None, asked.limit)]
    else:
        positions = [_position(text, f"/places/{n}") for n, text in enumerate(asked.places or [])]
    if asked.dry_run:
        result = DeadLetterResult(positions, [])
    else:
        result = (dead_letters.redrive if verb == "redrive" else dead_letters.discard)(positions, actor)
    return {
        "service": dead_letters.service,
        "dry_run": asked.dry_run,
        "done": [str(position) for position in result.done],
        "skipped": [{"place": str(position), "why": why} for position, why in result.skipped],
    }


def _row(service: str, row: ParkedSummary) -> dict[str, Any]:
    fields = row._asdict()
    del fields["place"]
    return {
        "service": service,
        "place": str(row.place),
        **fields,
        "detail": _shown(row.detail.encode(), 1_000),
        "message_id": _shown(row.message_id.encode(), 300) if row.message_id else None,
    }


def _whole(service: str, row: ParkedRecord) -> dict[str, Any]:
    record = row.record
    return {
        **_row(service, summary(row)),
        "key": _shown(record.key),
        "headers": [[_shown(name.encode(), 100), _shown(value, 300)] for name, value in record.headers[:100]],
        "value": _shown(record.value),
    }


def _shown(data: bytes | None, bytes_max: int = SHOWN_BYTES_MAX) -> str | None:
    """Return bytes as text that is safe to print: cut, escaped, and with possible card numbers masked."""
    if data is None:
        return None
    text = mask_card_numbers_in(data)[:bytes_max].decode("utf-8", "backslashreplace")
    safe = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return safe if len(data) <= bytes_max else f"{safe}... ({len(data)} bytes)"


def _filter(asked: Mapping[str, str]) -> DeadLetterFilter:
    filters = DeadLetterFilter(*(asked.get(name, "") for name in DeadLetterFilter._fields))
    wrong = [
        FieldError(f"/{name}", "is not such a name")
        for name, text in filters._asdict().items()
        if not _WORD.fullmatch(text) or (name == "saga_id" and text and not is_uuid(text))
    ]
    if wrong:
        raise Problem(INVALID_REQUEST, errors=wrong)
    return filters


def _position(text: str, pointer: str) -> LogPosition:
    position = LogPosition.parse(text)
    if position is None:
        raise Problem(INVALID_REQUEST, errors=[FieldError(pointer, "must be topic/partition/offset")])
    return position


def _json(document: object) -> Response:
    return Response(msgspec.json.encode(document), media_type="application/json")
