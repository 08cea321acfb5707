"""The keys of a data folder: for tokens, for the services' calls and messages, and for the provider.

The services verify tokens and sign their own calls (`runtime`). The private keys never leave this folder.
"""

import json
import secrets
import shutil
import time
import warnings
from pathlib import Path
from threading import Lock

from joserfc import jwt
from joserfc.errors import SecurityWarning
from joserfc.jwk import KeyParameters, KeySet, OKPKey

from holdfast.bus.message_signature import SigningKey, keys_document
from holdfast.contracts.internal_calls import CALLERS
from holdfast.contracts.topics import SERVICES, signers_read_by
from holdfast.local.passwords import write_private

ISSUER = AUDIENCE = "holdfast"
SHOPPER_SCOPE = "checkout:write"
OPERATOR_SCOPE = "ops:read ops:act"

_warnings_lock = Lock()
"""Warning filters belong to the whole process: without the lock, parallel threads would print the warning."""


class NoKeys(Exception):
    """This data folder has no keys: no platform was ever started with it."""


class Keys:
    """The key files of one folder; `ensure` makes what is missing and never replaces one."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.signing = folder / "signing.json"
        self.public = folder / "jwks.json"
        self.services_public = folder / "services.jwks.json"
        self.provider = folder / "provider.key"
        self.webhook = folder / "webhook.key"
        self._messages = folder / "messages"

    def messages(self, service: str) -> Path:
        """Return the file of the keys with which this service signs its messages and verifies others'."""
        return self._messages / f"{service}.json"

    def of_service(self, service: str) -> Path:
        """Return the file of the key with which this service signs its calls to other services."""
        return self._folder / f"{service}.key.json"

    def ensure(self) -> None:
        if not self.signing.exists():
            _write_new_key(self.signing, "EdDSA")
        if not self.public.exists():
            write_private(self.public, json.dumps(KeySet([self._key()]).as_dict(private=False)))
        if not self.provider.exists():
            write_private(self.provider, f"sk_test_{secrets.token_hex(24)}")
        if not self.webhook.exists():
            write_private(self.webhook, f"whsec_{secrets.token_hex(24)}")
        for service in CALLERS:
            if not self.of_service(service).exists():
                _write_new_key(self.of_service(service), "Ed25519")
        self._publish_service_keys()
        if not self._messages.exists():
            self._write_message_keys()

    def _write_message_keys(self) -> None:
        """Give each service a key, and the keys of those whose signed messages it reads; all or none."""
        keys = {name: SigningKey(f"{name}-1", name, secrets.token_bytes(32)) for name in SERVICES}
        unfinished = self._messages.with_suffix(".unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(mode=0o700)
        for name, own in keys.items():
            known = [own, *(keys[writer] for writer in sorted(signers_read_by(name) - {name}))]
            write_private(unfinished / f"{name}.json", keys_document(own.key_id, known))
        unfinished.rename(self._messages)

    def token(self, user: str, *, operator: bool = False, ttl_s: int = 8 * 3600) -> str:
        """Return a signed token for this user; raises NoKeys."""
        key = self._key()
        now = int(time.time())
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": user,
            "scope": OPERATOR_SCOPE if operator else SHOPPER_SCOPE,
            "iat": now,
            "nbf": now,
            "exp": now + ttl_s,
        }
        header = {"alg": "EdDSA", "typ": "JWT", "kid": key.kid}
        with _warnings_lock, warnings.catch_warnings():
            # RFC 9864 renames EdDSA to Ed25519; most verifiers know only the old name yet.
            warnings.simplefilter("ignore", SecurityWarning)
            return jwt.encode(header, claims, key, algorithms=["EdDSA"])

    def _publish_service_keys(self) -> None:
        """Add every service's key to the public set; keys that an operator added stay."""
        known = self.services_public.exists()
        public = json.loads(self.services_public.read_text())["keys"] if known else []
        kids = {key.get("kid") for key in public}
        missing = []
        for service in CALLERS:
            key = OKPKey.import_key(json.loads(self.of_service(service).read_text()))
            if key.kid not in kids:
                missing.append({**key.as_dict(private=False), "service": service})
        if missing:
            write_private(self.services_public, json.dumps({"keys": public + missing}))

    def _key(self) -> OKPKey:
        try:
            return OKPKey.import_key(json.loads(self.signing.read_text()))
        except FileNotFoundError:
            raise NoKeys(f"no keys in {self.signing.parent}: start a platform there first") from None


def _write_new_key(path: Path, algorithm: str) -> None:
    parameters: KeyParameters = {"use": "sig", "alg": algorithm}
    key = OKPKey.generate_key("Ed25519", parameters, private=True, auto_kid=True)
    write_private(path, json.dumps(key.as_dict(private=True)))
