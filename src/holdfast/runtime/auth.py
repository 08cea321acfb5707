"""Checks bearer tokens (JWT, Ed25519 only) of users and of services with their public keys.

The endpoints decide what a scope allows. `local` makes the keys and the users' tokens; `service_tokens`
signs a service's own calls.
"""

import time
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Generic, NamedTuple, TypeVar

import msgspec
import structlog
from joserfc import jwt
from joserfc.errors import JoseError, SecurityWarning
from joserfc.jwk import OKPKey
from msgspec import Meta

from holdfast.contracts import internal_calls
from holdfast.contracts.card_numbers import holds_card_number
from holdfast.runtime.problems import FORBIDDEN, UNAUTHENTICATED, Problem, unavailable

ISSUER = AUDIENCE = "holdfast"
SHOPPER = "checkout:write"
OPERATOR_READS = "ops:read"
OPERATOR_ACTS = "ops:act"

LEEWAY_S = 30
LOOK_EVERY_S = 3.0
TOKEN_BYTES_MAX = 4096
REMEMBERED_MAX = 10_000

log = structlog.get_logger(__name__)


P = TypeVar("P")


class User(NamedTuple):
    """A caller's name, and the scopes of the caller's token."""

    name: str
    scopes: frozenset[str]


class VerifyingKey(NamedTuple):
    """A public key; `service` names the service whose tokens it verifies, or is empty for users' tokens."""

    key: OKPKey
    service: str = ""


class _Header(msgspec.Struct):
    alg: str
    kid: str


class _Claims(msgspec.Struct):
    iss: str
    aud: str | list[str]
    sub: Annotated[str, Meta(pattern=r"^[^\x00-\x1f\x7f]{1,200}(?!\n)$")]
    exp: int | float
    nbf: int | float = 0
    scope: str = ""


class _KeySet(msgspec.Struct):
    keys: list[dict[str, Any]]


class _Refused(Exception):
    """The token is not valid; the text is our own and safe to show."""


class _Verifier(ABC, Generic[P]):
    """Checks tokens of one kind. One thread only.

    It remembers a verified token until the token expires or the keys change.
    """

    algorithm: str

    def __init__(
        self,
        jwks: Path,
        wall_clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._jwks = jwks
        self._wall_clock = wall_clock
        self._monotonic = monotonic
        self._keys: dict[str, VerifyingKey] = {}
        self._file_state: tuple[int, int, int] | None = None
        self._check_file_at = float("-inf")
        self._remembered: dict[str, tuple[P, float]] = {}

    @abstractmethod
    def _caller(self, claims: _Claims, key: VerifyingKey) -> P:
        """Return the owner of these claims, which `key` has signed. Raises _Refused."""

    def verify(self, authorization: str | None) -> P:
        """Return the caller. Raises Problem: 401, or 503 if no keys are loaded."""
        if self._monotonic() >= self._check_file_at:
            self._check_file_at = self._monotonic() + LOOK_EVERY_S
            self._load_keys()
        known = self._remembered.get(authorization or "")
        if known is not None and self._wall_clock() < known[1]:
            return known[0]
        try:
            caller, expires = self._verify(authorization)
        except _Refused as error:
            challenge = 'Bearer realm="holdfast"' + (', error="invalid_token"' if authorization else "")
            headers = {"WWW-Authenticate": challenge}
            raise Problem(UNAUTHENTICATED, str(error), headers=headers) from None
        self._remember(authorization or "", caller, expires)
        return caller

    def _verify(self, authorization: str | None) -> tuple[P, float]:
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise _Refused("send a header `Authorization: Bearer TOKEN`")
        if len(token) > TOKEN_BYTES_MAX or not token.isascii():
            raise _Refused("the token is not a signed JWT")
        if not self._keys:
            raise unavailable("the key set")
        claims, key = self._read(token.strip())
        now = self._wall_clock()
        caller = self._caller(claims, key)
        if not claims.exp > now - LEEWAY_S:
            raise _Refused("the token has expired")
        if not claims.nbf <= now + LEEWAY_S:
            raise _Refused("the token is not valid yet")
        return caller, claims.exp + LEEWAY_S

    def _read(self, token: str) -> tuple[_Claims, VerifyingKey]:
        """Check the signature with the key that the token names; the token never chooses the algorithm."""
        try:
            with warnings.catch_warnings():
                # RFC 9864 renames EdDSA to Ed25519; `local.keys` signs tokens under the old name.
                warnings.simplefilter("ignore", SecurityWarning)
                read = jwt.decode(token, lambda read: self._key_of(read).key, algorithms=[self.algorithm])
            return msgspec.convert(read.claims, _Claims), self._keys[read.header["kid"]]
        except (JoseError, ValueError, TypeError, LookupError, AttributeError, RecursionError):
            # The library raises these for headers of unexpected types: such a token is not ours.
            raise _Refused("the token is not signed by a key of this platform") from None
        except msgspec.ValidationError:
            raise _Refused("the token's claims are not complete") from None

    def _key_of(self, token: Any) -> VerifyingKey:
        try:
            header = msgspec.convert(token.headers(), _Header)
        except msgspec.ValidationError:
            raise _Refused("the token names no key") from None
        key = self._keys.get(header.kid)
        if key is None:
            raise _Refused("the token is not signed by a key of this platform")
        return key

    def _remember(self, authorization: str, caller: P, expires: float) -> None:
        while len(self._remembered) >= REMEMBERED_MAX:
            del self._remembered[next(iter(self._remembered))]
        self._remembered[authorization] = (caller, expires)

    def _load_keys(self) -> None:
        """Read the key set again if its file changed; if the file is broken or missing, keep the old keys."""
        try:
            stat = self._jwks.stat()
            state = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
            if state == self._file_state:
                return
            keys = read_keys(self._jwks.read_bytes())
        except (OSError, JoseError, ValueError, TypeError) as error:
            log.warning("keys_not_read", error=type(error).__name__)
            return
        self._file_state, self._keys = state, keys
        self._remembered.clear()
        log.info("keys_read", kids=sorted(keys))


def _audiences(claims: _Claims) -> list[str]:
    return [claims.aud] if isinstance(claims.aud, str) else claims.aud


class Authenticator(_Verifier[User]):
    """Checks the tokens of shoppers and operators."""

    algorithm = "EdDSA"

    def require(self, authorization: str | None, scope: str) -> User:
        """Return the caller, who must have this scope. Raises Problem: 401, 403, or 503 without keys."""
        user = self.user(authorization)
        if scope not in user.scopes:
            challenge = f'Bearer realm="holdfast", error="insufficient_scope", scope="{scope}"'
            detail = f"this needs a token with the scope {scope}"
            raise Problem(FORBIDDEN, detail, headers={"WWW-Authenticate": challenge})
        return user

    def user(self, authorization: str | None) -> User:
        """Return the caller. Raises Problem."""
        return self.verify(authorization)

    def _caller(self, claims: _Claims, key: VerifyingKey) -> User:
        if key.service or claims.iss != ISSUER or AUDIENCE not in _audiences(claims):
            raise _Refused("the token was not made for this platform")
        if holds_card_number(claims.sub):  # it is stored with carts, orders and operators' actions
            raise _Refused("the token's `sub` holds what looks like a card number")
        return User(claims.sub, frozenset(claims.scope.split()))


class ServiceAuthenticator(_Verifier[str]):
    """Checks the tokens of other services that call the internal endpoints of `service`."""

    algorithm = "Ed25519"

    def __init__(
        self,
        jwks: Path,
        service: str,
        wall_clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(jwks, wall_clock, monotonic)
        self._service = service

    def require(self, authorization: str | None, path: str) -> str:
        """Return the calling service, which must be allowed to call `path`. Raises Problem: 401, 403, 503."""
        caller = self.verify(authorization)
        if caller not in internal_calls.MAY_CALL.get((self._service, path), ()):
            raise Problem(FORBIDDEN, f"{caller} may not call this endpoint")
        return caller

    def _caller(self, claims: _Claims, key: VerifyingKey) -> str:
        if claims.iss != internal_calls.ISSUER or _audiences(claims) != [self._service]:
            raise _Refused("the token was not made for calls to this service")
        if not key.service or claims.sub != key.service:
            raise _Refused("the token is not signed by a key of the service that it names")
        if not claims.exp <= self._wall_clock() + internal_calls.TOKEN_LIFE_S + LEEWAY_S:
            raise _Refused("the token lives too long")
        return claims.sub


def read_keys(document: bytes) -> dict[str, VerifyingKey]:
    """Return the Ed25519 keys of a JWK set by `kid`. Raises ValueError, TypeError and JoseError."""
    return {
        entry["kid"]: VerifyingKey(OKPKey.import_key({**entry}), _service_of(entry))
        for entry in msgspec.json.decode(document, type=_KeySet).keys
        if entry.get("kty") == "OKP" and entry.get("crv") == "Ed25519" and isinstance(entry.get("kid"), str)
    }


def _service_of(entry: dict[str, Any]) -> str:
    service = entry.get("service", "")
    if not isinstance(service, str):
        raise TypeError("the service of a key is a string")
    return service
