"""Rules for the head of a request beyond the parser's: it is short, and can be read in one way only.

A request that can be read in two ways can be smuggled past a proxy before this server.
"""

from typing import NoReturn

from holdfast.http_server import refusals
from holdfast.http_server.limits import Limits
from holdfast.http_server.refusals import Refusal

# Headers that may occur once, because nothing says which of two would count (RFC 9110, 5.3).
SINGLE = frozenset(
    (
        b"authorization",
        b"content-length",
        b"content-type",
        b"expect",
        b"host",
        b"idempotency-key",
        b"if-match",
        b"stripe-signature",
        b"traceparent",
        b"transfer-encoding",
    )
)


class MalformedRequest(Exception):
    """Raised in the parser's callbacks, to end the parsing."""

    def __init__(self, refusal: Refusal, detail: str = "") -> None:
        super().__init__(refusal.code)
        self.refusal = refusal
        self.detail = detail


def refuse_size(limits: Limits, size: int) -> NoReturn:
    """Refuse a header of this size: it is too large, or one too many."""
    if size > limits.header_bytes_max:
        raise MalformedRequest(refusals.HEADERS_TOO_LARGE, f"one has at most {limits.header_bytes_max} bytes")
    raise MalformedRequest(refusals.HEADERS_TOO_LARGE, f"at most {limits.headers_max} are read")


def check_single(limits: Limits, seen: set[bytes], name: bytes, value: bytes) -> None:
    """Refuse a repeated or impossible header of those that may occur once; `seen` has the earlier ones."""
    if name in seen:
        raise MalformedRequest(refusals.MALFORMED_REQUEST, f"the header {name.decode()} stands there twice")
    seen.add(name)
    if name == b"transfer-encoding" and value.lower() != b"chunked":
        raise MalformedRequest(refusals.MALFORMED_REQUEST, "of transfer-encoding only chunked is understood")
    if name == b"content-length":
        if not value.isdigit():
            raise MalformedRequest(refusals.MALFORMED_REQUEST, "content-length is a number")
        if len(value) > 18 or int(value) > limits.body_bytes_max:
            raise MalformedRequest(
                refusals.BODY_TOO_LARGE, f"at most {limits.body_bytes_max} bytes are accepted"
            )


def check_framing(seen: set[bytes], version: str) -> None:
    """Refuse a head with a wrong version, without a host, or with two lengths of the body."""
    if version not in ("1.0", "1.1"):
        raise MalformedRequest(refusals.MALFORMED_REQUEST, "only HTTP 1.1 and 1.0 are spoken here")
    if version == "1.1" and b"host" not in seen:
        raise MalformedRequest(refusals.MALFORMED_REQUEST, "the header host is missing")
    if b"transfer-encoding" in seen and (version == "1.0" or b"content-length" in seen):
        raise MalformedRequest(refusals.MALFORMED_REQUEST, "the body has two lengths")
