"""The answers that the server gives without calling the application: problems (RFC 9457)."""

import json
from http import HTTPStatus
from typing import NamedTuple


class Refusal(NamedTuple):
    """A kind of problem; its `code` is also the label in the metrics."""

    code: str
    status: int
    title: str
    retry_after_s: int | None = None


MALFORMED_REQUEST = Refusal("malformed_request", 400, "The request is not valid HTTP")
REQUEST_TIMEOUT = Refusal("request_timeout", 408, "The request took too long to arrive")
BODY_TOO_LARGE = Refusal("body_too_large", 413, "The body is too large")
TARGET_TOO_LONG = Refusal("target_too_long", 414, "The request's target is too long")
HEADERS_TOO_LARGE = Refusal("headers_too_large", 431, "The request's headers are too large")
INTERNAL_ERROR = Refusal("internal_error", 500, "Something went wrong on our side")
OVERLOADED = Refusal("overloaded", 503, "Too much to do right now", retry_after_s=2)

ALL = (
    MALFORMED_REQUEST,
    REQUEST_TIMEOUT,
    BODY_TOO_LARGE,
    TARGET_TOO_LONG,
    HEADERS_TOO_LARGE,
    INTERNAL_ERROR,
    OVERLOADED,
)


def document(refusal: Refusal, detail: str = "") -> bytes:
    """Return the problem document; `detail` is written by us, never by the client."""
    return json.dumps(
        {
            "type": f"urn:holdfast:problem:{refusal.code}",
            "title": refusal.title,
            "status": refusal.status,
            "code": refusal.code,
            "detail": detail or refusal.title,
        },
        separators=(",", ":"),
    ).encode()


def response(refusal: Refusal, detail: str, date: list[tuple[bytes, bytes]]) -> bytes:
    """Return the whole answer; after it the connection is closed."""
    body = document(refusal, detail)
    headers = [*date, (b"content-type", b"application/problem+json"), (b"connection", b"close")]
    if refusal.retry_after_s is not None:
        headers.append((b"retry-after", b"%d" % refusal.retry_after_s))
    headers.append((b"content-length", b"%d" % len(body)))
    lines = b"".join(b"%s: %s\r\n" % header for header in headers)
    phrase = HTTPStatus(refusal.status).phrase.encode()
    return b"HTTP/1.1 %d %s\r\n%s\r\n%s" % (refusal.status, phrase, lines, body)
