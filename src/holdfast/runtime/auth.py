"""Who calls: bearer tokens (JWT, EdDSA only), checked against the platform's public keys.

What a scope allows is the endpoints' to say; making keys and tokens belongs to `local`.
"""

import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import msgspec
import structlog
from joserfc import jwt
from joserfc.errors import JoseError, SecurityWarning
from joserfc.jwk import OKPKey
from msgspec import Meta

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


class User(NamedTuple):
    """Who calls, and what they may do."""

    name: str
    scopes: frozenset[str]


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
    """A token that is not valid; the text is ours and safe to show."""


class Authenticator:
    """Checks tokens. A verified one is remembered until it expires or the keys change. One thread only."""

    def __init__(
        self,
        jwks: Path,
        wall_clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._jwks = jwks
        self._wall_clock = wall_clock
        self._monotonic = monotonic
        self._keys: dict[str, OKPKey] = {}
        self._file_state: tuple[int, int, int] | None = None
        self._look_at = float("-inf")
        self._remembered: dict[str, tuple[User, float]] = {}

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
        if self._monotonic() >= self._look_at:
            self._look_at = self._monotonic() + LOOK_EVERY_S
            self._load_keys()
        known = self._remembered.get(authorization or "")
        if known is not None and self._wall_clock() < known[1]:
            return known[0]
        try:
            user, expires = self._verify(authorization)
        except _Refused as error:
            challenge = 'Bearer realm="holdfast"' + (', error="invalid_token"' if authorization else "")
            headers = {"WWW-Authenticate": challenge}
            raise Problem(UNAUTHENTICATED, str(error), headers=headers) from None
        self._remember(authorization or "", user, expires)
        return user

    def _verify(self, authorization: str | None) -> tuple[User, float]:
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise _Refused("send a header `Authorization: Bearer TOKEN`")
        if len(token) > TOKEN_BYTES_MAX or not token.isascii():
            raise _Refused("the token is not a signed JWT")
        if not self._keys:
            raise unavailable("the key set")
        claims = self._read(token.strip())
        now = self._wall_clock()
        audience = [claims.aud] if isinstance(claims.aud, str) else claims.aud
        if claims.iss != ISSUER or AUDIENCE not in audience:
            raise _Refused("the token was not made for this platform")
        if not claims.exp > now - LEEWAY_S:
            raise _Refused("the token has expired")
        if not claims.nbf <= now + LEEWAY_S:
            raise _Refused("the token is not valid yet")
        if holds_card_number(claims.sub):  # it is kept with carts, orders and operators' acts
            raise _Refused("the token's `sub` holds what looks like a card number")
        return User(claims.sub, frozenset(claims.scope.split())), claims.exp + LEEWAY_S

    def _read(self, token: str) -> _Claims:
        """Check the signature with the key that the token names; the algorithm is ours to choose, not its."""
        try:
            with warnings.catch_warnings():
                # RFC 9864 renames EdDSA to Ed25519; what signs our tokens knows the old name.
                warnings.simplefilter("ignore", SecurityWarning)
                read = jwt.decode(token, self._key_of, algorithms=["EdDSA"])
            return msgspec.convert(read.claims, _Claims)
        except (JoseError, ValueError, TypeError, LookupError, AttributeError, RecursionError):
            # The library trips over headers of odd types: whatever it was, it is not a token of ours.
            raise _Refused("the token is not signed by a key of this platform") from None
        except msgspec.ValidationError:
            raise _Refused("the token's claims are not complete") from None

    def _key_of(self, token: Any) -> OKPKey:
        try:
            header = msgspec.convert(token.headers(), _Header)
        except msgspec.ValidationError:
            raise _Refused("the token names no key") from None
        key = self._keys.get(header.kid)
        if key is None:
            raise _Refused("the token is not signed by a key of this platform")
        return key

    def _remember(self, authorization: str, user: User, expires: float) -> None:
        while len(self._remembered) >= REMEMBERED_MAX:
            del self._remembered[next(iter(self._remembered))]
        self._remembered[authorization] = (user, expires)

    def _load_keys(self) -> None:
        """Read the key set again if the file changed; a broken or missing one leaves the keys as they are."""
        try:
            stat = self._jwks.stat()
            state = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
            if state == self._file_state:
                return
            keys = read_keys(self._jwks.read_bytes())
        except (OSError, JoseError, ValueError) as error:
            log.warning("keys_not_read", error=type(error).__name__)
            return
        self._file_state, self._keys = state, keys
        self._remembered.clear()
        log.info("keys_read", kids=sorted(keys))


def read_keys(document: bytes) -> dict[str, OKPKey]:
    """Read a JWK set: its Ed25519 keys by `kid`. Raises ValueError and JoseError."""
    return {
        entry["kid"]: OKPKey.import_key({**entry})
        for entry in msgspec.json.decode(document, type=_KeySet).keys
        if entry.get("kty") == "OKP" and entry.get("crv") == "Ed25519" and isinstance(entry.get("kid"), str)
    }
