"""Service tokens: a short-lived JWT for each service that this one calls, signed with this service's own key.

`contracts.internal_calls` says which service may call what; `auth` checks the tokens.
"""

import json
import time
from collections.abc import Callable
from pathlib import Path

import structlog
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import OKPKey

from holdfast.contracts.internal_calls import ISSUER, TOKEN_LIFE_S

RENEW_AFTER_S = TOKEN_LIFE_S / 2

log = structlog.get_logger(__name__)


class ServiceTokens:
    """Makes tokens in the name of `service`; each is reused for half its life. One thread only."""

    def __init__(
        self,
        key_file: Path,
        service: str,
        wall_clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Read the key. Raises ValueError."""
        self._key_file = key_file
        self._key = read_signing_key(key_file)
        self._service = service
        self._wall_clock = wall_clock
        self._monotonic = monotonic
        self._made: dict[str, tuple[str, float]] = {}

    def authorization(self, callee: str) -> str:
        """Return the header `Authorization` for a call to this service."""
        authorization, renew_at = self._made.get(callee, ("", float("-inf")))
        now = self._monotonic()
        if now >= renew_at:
            self._read_key_again()
            authorization = f"Bearer {self._token(callee)}"
            self._made[callee] = authorization, now + RENEW_AFTER_S
        return authorization

    def _token(self, callee: str) -> str:
        now = int(self._wall_clock())
        claims = {
            "iss": ISSUER,
            "aud": callee,
            "sub": self._service,
            "iat": now,
            "nbf": now,
            "exp": now + TOKEN_LIFE_S,
        }
        header = {"alg": "Ed25519", "typ": "JWT", "kid": self._key.kid}
        return jwt.encode(header, claims, self._key, algorithms=["Ed25519"])

    def _read_key_again(self) -> None:
        """Read the key file again, for a new key; if the file is broken or missing, keep the old key."""
        try:
            self._key = read_signing_key(self._key_file)
        except ValueError as error:
            log.warning("service_key_not_read", error=str(error))


def read_signing_key(path: Path) -> OKPKey:
    """Read a private Ed25519 key with a `kid` from a JWK file. Raises ValueError, which hides the key."""
    try:
        key = OKPKey.import_key(json.loads(path.read_bytes()))
    except OSError as error:
        raise ValueError(f"the file that it names cannot be read: {error.strerror}") from None
    except (JoseError, ValueError, TypeError, LookupError, AttributeError, RecursionError):
        raise ValueError("the file that it names holds no private key (a JWK)") from None
    if key.get("crv") != "Ed25519" or not key.is_private or not key.kid:
        raise ValueError("the file that it names holds no private Ed25519 key with a `kid`")
    return key
