"""Idempotency keys, exactly as Stripe keeps them.

The answer is kept in the effect's own transaction; only this process knows which requests are under way.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import blake2b
from typing import NamedTuple

import msgspec

from holdfast.payment_provider.errors import ApiError, ProviderResponse
from holdfast.payment_provider.ledger import Ledger

KEY_MAX = 255


class Key(NamedTuple):
    """A client's key, and the fingerprint of the request that came with it."""

    name: str
    fingerprint: str


def make_key(name: str | None, path: str, form: dict[str, str]) -> Key | None:
    """Return the key of a request, None if it has none; the order of its parameters does not matter."""
    if name is None:
        return None
    if not 0 < len(name) <= KEY_MAX:
        raise ApiError(400, f"An idempotency key has 1 to {KEY_MAX} characters.", kind="idempotency_error")
    request = msgspec.json.encode((path, sorted(form.items())))
    return Key(name, blake2b(request, digest_size=16).hexdigest())


def once(ledger: Ledger, key: Key | None, work: Callable[[Ledger], ProviderResponse]) -> ProviderResponse:
    """Do the work and keep its answer under the key; if an answer is kept already, return that one.

    Every answer that `work` returns is kept, with any status; nothing is kept if it raises.
    """
    if key is None:
        return work(ledger)
    kept = ledger.kept_answer(key.name)
    if kept is None:
        answer = work(ledger)
        ledger.keep_answer(key.name, key.fingerprint, answer.status, answer.body)
        return answer
    if kept.fingerprint != key.fingerprint:
        raise ApiError(
            400,
            "Keys for idempotent requests can only be used with the same endpoint and parameters they were"
            f" first used with. Try using a key other than '{key.name}' if you meant a different request.",
            kind="idempotency_error",
        )
    return ProviderResponse(kept.status, kept.body.encode(), replayed=True)


def in_use(key: str) -> ApiError:
    """Make the 409: the first request with this key has no answer yet."""
    return ApiError(
        409,
        "There is currently another in-progress request using this Idempotent Key (that probably means you"
        f" submitted twice, and the other request is still going through): {key}. Please try again later.",
        kind="idempotency_error",
        code="idempotency_key_in_use",
        headers={"Stripe-Should-Retry": "true"},
    )


class KeyUnderWay:
    """The keys whose first request is still executing."""

    def __init__(self) -> None:
        self._names: set[str] = set()

    def __len__(self) -> int:
        return len(self._names)

    @contextmanager
    def holding(self, key: Key | None) -> Iterator[None]:
        """Refuse a second request under the same key while the first is executing."""
        if key is None:
            yield
            return
        if key.name in self._names:
            raise in_use(key.name)
        self._names.add(key.name)
        try:
            yield
        finally:
            self._names.discard(key.name)
