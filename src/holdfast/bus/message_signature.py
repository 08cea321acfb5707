"""Signatures on topics that several services write: HMAC-SHA256 with a key of the writer.

Each type of message has one reader, so a reader that knows the key could deceive only itself (ADR 18).
"""

import hmac
from base64 import b64decode, b64encode
from collections.abc import Collection, Sequence
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import msgspec

from holdfast.bus.port import Headers, Message

HEADER = "ce_signature"
SECRET_BYTES_MIN = 32

_COVERED = ("ce_id", "ce_type", "ce_dataschema")
_ABSENT = b"\xff" * 8


class SigningKey(NamedTuple):
    """A secret, the service that owns it, and the id by which a signature names it."""

    key_id: str
    service: str
    secret: bytes


class UnusableKeys(Exception):
    """The file of keys cannot be used; the text says why."""


class SigningKeys:
    """The key that this process signs with, and all that it verifies with; a service may have several."""

    def __init__(self, sign_with: SigningKey, known: Sequence[SigningKey]) -> None:
        self._own = sign_with
        self._known = {key.key_id: key for key in known}

    @property
    def service(self) -> str:
        """The service whose messages this signs."""
        return self._own.service

    def require(self, service: str, writers: Collection[str]) -> None:
        """Raise UnusableKeys unless this signs as `service` and can verify what each of `writers` signs."""
        if self._own.service != service:
            raise UnusableKeys(f"its sign_with is a key of {self._own.service}, not of {service}")
        missing = sorted(set(writers) - {key.service for key in self._known.values()})
        if missing:
            raise UnusableKeys(f"it has no key of {', '.join(missing)}, whose messages {service} reads")

    def sign(self, message: Message) -> Message:
        """Return the message with a signature in its headers."""
        mac = _mac(self._own.secret, message.topic, message.key, message.value, message.headers)
        signature = f"{self._own.key_id}:{b64encode(mac).decode()}".encode()
        return message._replace(headers=(*message.headers, (HEADER, signature)))

    def source_of(self, topic: str, key: bytes | None, value: bytes | None, headers: Headers) -> str | None:
        """Return the service whose signature this record has; None if it has no valid one."""
        signature = dict(headers).get(HEADER, b"")
        key_id, _, claimed = signature.partition(b":")
        known = self._known.get(key_id.decode("ascii", "replace"))
        if known is None:
            return None
        mac = b64encode(_mac(known.secret, topic, key, value, headers))
        return known.service if hmac.compare_digest(mac, claimed) else None


class _Key(msgspec.Struct, forbid_unknown_fields=True):
    id: str
    service: str
    secret: str


class _File(msgspec.Struct, forbid_unknown_fields=True):
    sign_with: str
    keys: list[_Key]


def read_keys(path: Path) -> SigningKeys:
    """Read a file of `keys_document`'s text; only its owner may have access. Raises UnusableKeys."""
    try:
        if path.stat().st_mode & 0o077:
            raise UnusableKeys("others than its owner may use the file that it names: chmod 600")
        document = msgspec.json.decode(path.read_bytes(), type=_File)
    except OSError as error:
        raise UnusableKeys(f"the file that it names cannot be read: {error.strerror}") from None
    except msgspec.DecodeError as error:
        raise UnusableKeys(f"the file that it names is not as it should be: {error}") from None
    known = [SigningKey(key.id, key.service, _secret(key)) for key in document.keys]
    names = [key.key_id for key in known]
    if len(set(names)) != len(names):
        raise UnusableKeys("two of its keys have one id")
    own = next((key for key in known if key.key_id == document.sign_with), None)
    if own is None:
        raise UnusableKeys(f"its sign_with names {document.sign_with!r}, which is none of its keys")
    return SigningKeys(own, known)


def keys_document(sign_with: str, keys: Sequence[SigningKey]) -> str:
    """Return the text that `read_keys` reads."""
    rows = [_Key(key.key_id, key.service, b64encode(key.secret).decode()) for key in keys]
    return msgspec.json.format(msgspec.json.encode(_File(sign_with, rows)), indent=2).decode() + "\n"


def _secret(key: _Key) -> bytes:
    try:
        secret = b64decode(key.secret, validate=True)
    except ValueError:
        raise UnusableKeys(f"the secret of {key.id} is not base64") from None
    if len(secret) < SECRET_BYTES_MIN:
        raise UnusableKeys(f"the secret of {key.id} has fewer than {SECRET_BYTES_MIN} bytes")
    if not key.id.isascii() or ":" in key.id or not key.id:
        raise UnusableKeys(f"{key.id!r} is no id of a key: ASCII without a colon")
    return secret


def _mac(secret: bytes, topic: str, key: bytes | None, value: bytes | None, headers: Headers) -> bytes:
    """Compute the HMAC over each field with its length before it, so that no two messages look the same."""
    by_name = dict(headers)
    fields = (topic.encode(), key, value, *(by_name.get(name) for name in _COVERED))
    text = b"".join(_ABSENT if field is None else len(field).to_bytes(8, "big") + field for field in fields)
    return hmac.digest(secret, text, sha256)
